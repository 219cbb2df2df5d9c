//! Holds the shape of the house: which crate may know which, and what a template must have.

mod dependencies;
mod templates;
