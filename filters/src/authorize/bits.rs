//! Small sets of numbers, for roles and scopes.

/// A set of numbers below a bound that is known when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Bits(Box<[u64]>);

impl Bits {
    /// The empty set, with room for numbers below this.
    pub fn below(bound: usize) -> Bits {
        Bits(vec![0; bound.div_ceil(64)].into())
    }

    /// Takes a number in, unless it is too large. Says whether it was not in before.
    pub fn insert(&mut self, number: usize) -> bool {
        match self.0.get_mut(number / 64) {
            Some(word) => {
                let before = *word;
                *word |= 1 << (number % 64);
                *word != before
            }
            None => false,
        }
    }

    /// Whether a number is in.
    pub fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// Takes in all of another set.
    pub fn add(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Whether one number is in both.
    pub fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|number| self.contains(*number))
    }

    /// The words that the set is kept in.
    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

/// For each number all that can be reached from it, itself counted, where each leads to some. Names a number from which it
/// is reached again.
///
/// # Errors
/// The first number on a circle.
pub fn closure(leads: &[Vec<usize>]) -> Result<Vec<Bits>, usize> {
    let mut all = Vec::with_capacity(leads.len());
    for from in 0..leads.len() {
        let mut found = Bits::below(leads.len());
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            let next = leads.get(at).map(Vec::as_slice).unwrap_or_default();
            if next.contains(&from) {
                return Err(from);
            }
            if found.insert(at) {
                open.extend(next);
            }
        }
        all.push(found);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_is_found_and_circles_are_refused() {
        let closed = closure(&[vec![1, 2], vec![2], vec![], vec![0]]).expect("no circle");
        assert_eq!(closed[3].iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(closed[1].iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(closure(&[vec![1], vec![2], vec![1]]), Err(1));
        assert_eq!(closure(&[vec![0]]), Err(0));
    }
}
