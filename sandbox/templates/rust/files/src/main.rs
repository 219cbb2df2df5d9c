//! Press Run. Everybody who is here sees the output.

use hello::{current_hour, greeting};

fn main() {
    println!("{}", greeting("world", current_hour()));

    let squares: Vec<u32> = (1..=5).map(|n| n * n).collect();
    println!("Squares: {squares:?}");
}
