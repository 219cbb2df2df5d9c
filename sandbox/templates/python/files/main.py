"""Press Run. Everybody who is here sees the output."""

from collections import Counter


def word_counts(text: str) -> list[tuple[str, int]]:
    """The words of a text with how often each occurs, most frequent first."""
    words = (word.strip(".,;:!?\"'").lower() for word in text.split())
    return Counter(word for word in words if word).most_common()


def main() -> None:
    print("Hello from Python!")
    for word, count in word_counts("one fish two fish red fish blue fish"):
        print(f"{word:>6} {'*' * count}")


if __name__ == "__main__":
    main()
