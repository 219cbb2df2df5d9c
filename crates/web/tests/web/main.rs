//! Web from outside: a real server, real clients, and a small node that checks grants.

#[path = "../support/mod.rs"]
mod support;

mod collab;
mod forwarding;
mod hostile;
mod leases;
mod outage;
mod people;
mod preview;
mod repls;
mod site;
