//! Running filters in their fixed order, with a place to resume after a lookup.

use crate::exchange::Exchange;
use crate::fault::Refusal;
use crate::filter::{Answer, Ask, Filter, Head, Verdict};

/// Filters in their order. Built once per snapshot.
#[derive(Default)]
pub struct Chain {
    filters: Box<[Box<dyn Filter>]>,
}

/// Where a chain stopped.
#[must_use]
#[derive(Debug)]
pub enum Stop {
    /// At its end: nothing was said against the request.
    End,
    /// A filter answered.
    Answer(Answer),
    /// A filter refused.
    Refuse(Refusal),
    /// A filter asked; go on with `resume` when the answer is known.
    Ask {
        /// What is asked.
        ask: Ask,
        /// Where to go on: the filter that asked.
        resume: usize,
    },
}

impl Chain {
    /// A chain of these filters, in this order.
    pub fn new(filters: Vec<Box<dyn Filter>>) -> Chain {
        Chain { filters: filters.into() }
    }

    /// The names of the filters, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.filters.iter().map(|filter| filter.name())
    }

    /// Shows the request's header to each filter, starting at `from`.
    pub fn request(&self, head: &Head<'_>, exchange: &mut Exchange, from: usize) -> Stop {
        self.run(from, |filter| filter.request(head, exchange))
    }

    /// Shows the message at `index` of the scan to each filter, starting at `from`.
    ///
    /// An index behind the last message shows nothing and ends at once.
    pub fn message(&self, head: &Head<'_>, index: usize, exchange: &mut Exchange, from: usize) -> Stop {
        let Some(message) = exchange.scan.messages.get(index).cloned() else { return Stop::End };
        exchange.at = index;
        self.run(from, |filter| filter.message(head, &message, exchange))
    }

    fn run(&self, from: usize, mut show: impl FnMut(&dyn Filter) -> Verdict) -> Stop {
        for (at, filter) in self.filters.iter().enumerate().skip(from) {
            match show(filter.as_ref()) {
                Verdict::Continue => {}
                Verdict::Answer(answer) => return Stop::Answer(answer),
                Verdict::Refuse(refusal) => return Stop::Refuse(refusal),
                Verdict::Ask(ask) => return Stop::Ask { ask, resume: at },
            }
        }
        Stop::End
    }
}
