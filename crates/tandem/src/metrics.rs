//! Numbers of parts that know no Prometheus.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tandem_store::LogState;
use tandem_store::ship::ShipState;
use tokio::sync::watch;

/// How the log and its shipping stand, as of the moment of asking.
#[derive(Debug)]
pub struct ShipMetrics {
    state: watch::Receiver<ShipState>,
    log: watch::Receiver<LogState>,
}

impl ShipMetrics {
    /// Reads from the shipper and the log.
    pub fn new(state: watch::Receiver<ShipState>, log: watch::Receiver<LogState>) -> Self {
        Self { state, log }
    }
}

impl Collector for ShipMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.state.borrow().clone();
        let counters = [
            ("tandem_ship_puts", "Parts of the log stored in the blob store", state.puts),
            ("tandem_ship_bytes", "Their stored length in bytes", state.bytes),
            ("tandem_ship_deleted", "Parts deleted because snapshots cover them", state.deleted),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lag = state
            .waiting_since_ms
            .map_or(0.0, |since| (now.as_millis() as f64 - since as f64).max(0.0) / 1000.0);
        let failing = if state.error.is_some() { 1.0 } else { 0.0 };
        let refusing = if *self.log.borrow() == LogState::Ready { 0.0 } else { 1.0 };
        let gauges = [
            ("tandem_log_refusing", "1 while the log takes no edits: full, or failed", refusing),
            ("tandem_ship_lag_seconds", "Age of the oldest edit that only this machine has", lag),
            ("tandem_ship_failing", "1 while the blob store does not take the log", failing),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
