import java.time.LocalTime;
import java.util.stream.IntStream;

/** Press Run. Everybody who is here sees the output. */
public class Main {
    public static void main(String[] args) {
        System.out.println(new Greeting("world", LocalTime.now()));
        IntStream.rangeClosed(1, 5).map(n -> n * n).forEach(System.out::println);
    }
}
