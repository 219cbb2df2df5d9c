import java.time.LocalTime;

/** Run with assertions on (java -ea). */
public class GreetingTest {
    public static void main(String[] args) {
        check(9, "Good morning, Ada!");
        check(15, "Good afternoon, Ada!");
        check(21, "Good evening, Ada!");
        System.out.println("all tests passed");
    }

    private static void check(int hour, String want) {
        var got = new Greeting("Ada", LocalTime.of(hour, 0)).toString();
        assert got.equals(want) : "at " + hour + ":00: " + got;
    }
}
