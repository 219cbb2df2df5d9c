import java.time.LocalTime;

/** Greets people by the hour of the day. */
record Greeting(String name, LocalTime time) {
    @Override
    public String toString() {
        var hour = time.getHour();
        var part = hour < 12 ? "morning" : hour < 18 ? "afternoon" : "evening";
        return "Good %s, %s!".formatted(part, name);
    }
}
