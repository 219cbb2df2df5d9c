/// A greeting that fits the hour of the day.
pub fn greeting(name: &str, hour: u64) -> String {
    let part = match hour {
        0..=11 => "morning",
        12..=17 => "afternoon",
        _ => "evening",
    };
    format!("Good {part}, {name}!")
}

/// The current hour (UTC) from the system's clock.
pub fn current_hour() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / 3600 % 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_follows_the_hour() {
        assert_eq!(greeting("Ada", 9), "Good morning, Ada!");
        assert_eq!(greeting("Ada", 15), "Good afternoon, Ada!");
        assert_eq!(greeting("Ada", 21), "Good evening, Ada!");
    }
}
