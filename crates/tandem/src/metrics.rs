//! Numbers of parts that know no Prometheus.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tandem_sandbox::egress::Egress;
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

/// What sandboxes sent and received, as of the moment of asking.
#[derive(Debug)]
pub struct EgressMetrics {
    egress: Arc<Egress>,
}

impl EgressMetrics {
    /// Reads from the sandboxes' network.
    pub fn new(egress: Arc<Egress>) -> Self {
        Self { egress }
    }
}

impl Collector for EgressMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let totals = self.egress.totals();
        for (name, help, value) in [
            ("tandem_egress_sent_bytes", "Bytes that sandboxes sent", totals.sent),
            ("tandem_egress_received_bytes", "Bytes that sandboxes received", totals.received),
            ("tandem_egress_refused", "Refused packets and questions for names", totals.refused),
        ] {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let directions = [
            ("tandem_egress_repl_sent_bytes", "Bytes sent by repls that have a network now", true),
            ("tandem_egress_repl_received_bytes", "Bytes received by them", false),
        ];
        for (name, help, is_sent) in directions {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (repl, sent, received) in &totals.repls {
                let counter = ConstCounter::new(if is_sent { *sent } else { *received });
                counter.encode(family.encode_family(&[("repl", repl.as_str())])?)?;
            }
        }
        Ok(())
    }
}
