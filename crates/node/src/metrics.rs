//! The node's numbers for Prometheus.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::room::Summary;

/// See each field.
#[derive(Debug, Default, Clone)]
pub struct Metrics {
    /// Rooms opened since start.
    pub rooms_opened: Counter,
    /// Rooms open now.
    pub rooms: Gauge,
    /// People connected, counted once per repl.
    pub people: Gauge,
    /// Sandboxes up.
    pub sandboxes: Gauge,
}

impl Metrics {
    /// Makes the numbers visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tandem_rooms_opened",
            "Rooms opened since start",
            self.rooms_opened.clone(),
        );
        registry.register("tandem_rooms", "Rooms open now", self.rooms.clone());
        registry.register("tandem_people", "People connected, once per repl", self.people.clone());
        registry.register("tandem_sandboxes", "Sandboxes up", self.sandboxes.clone());
    }

    /// Counts what is open.
    pub fn observe(&self, rooms: impl Iterator<Item = Summary>) {
        let (mut count, mut people, mut sandboxes) = (0, 0, 0);
        for room in rooms {
            count += 1;
            people += i64::from(room.online);
            sandboxes += i64::from(room.running);
        }
        self.rooms.set(count);
        self.people.set(people);
        self.sandboxes.set(sandboxes);
    }
}
