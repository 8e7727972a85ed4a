//! Conditions in CEL (the Common Expression Language), with bounds that the crate that runs them does not have.
//!
//! Text becomes a [`Program`](compile::Program) when the configuration is loaded: [`compile`] reads it, [`check`] refuses
//! what could take long or cannot be evaluated, and puts what can be made beforehand (regular expressions, networks) into
//! the place of the text it was made from. [`evaluate`] says what a program may come to with what is known by then.

pub mod check;
pub mod compile;
pub mod evaluate;
pub mod functions;
pub mod operators;
pub mod prescan;
pub mod print;
pub mod read;
pub mod variables;

#[cfg(test)]
mod tests;

pub use compile::{Fault, Program};
pub use evaluate::{Outcomes, Values};
pub use variables::{Variable, Variables};
