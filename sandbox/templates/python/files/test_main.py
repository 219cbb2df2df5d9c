import unittest

from main import word_counts


class WordCounts(unittest.TestCase):
    def test_most_frequent_first(self) -> None:
        self.assertEqual(word_counts("To be, or not to be!"), [("to", 2), ("be", 2), ("or", 1), ("not", 1)])

    def test_nothing(self) -> None:
        self.assertEqual(word_counts(" . "), [])


if __name__ == "__main__":
    unittest.main()
