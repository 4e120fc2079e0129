//! Sorted lists, maps and sets, in little code.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// [`Iterator::collect`] for maps and sets whose order is that of their keys.
///
/// `collect` sorts everything first, which is five kilobytes of machine code for every type of key and value. There are
/// many types here, with few items each.
pub(crate) trait CollectOrdered: Iterator + Sized {
    /// Takes the items one by one.
    fn collect_ordered<C: Default + Extend<Self::Item>>(self) -> C {
        let mut ordered = C::default();
        ordered.extend(self);
        ordered
    }
}

impl<I: Iterator> CollectOrdered for I {}

/// Sorts a list, and leaves items that are equal in their order.
///
/// For lists with a bound of some hundreds, because each item is moved to its place: that of the standard library is two
/// to five kilobytes of machine code for every type, and another for every comparison.
pub(crate) fn sort_by<T>(list: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut sorted: Vec<T> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        let at = sorted.partition_point(|other| compare(other, &item).is_le());
        sorted.insert(at, item);
    }
    *list = sorted;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_stay_in_their_order() {
        let mut list = [(2, 'a'), (1, 'b'), (3, 'c'), (2, 'd'), (1, 'e')].to_vec();
        sort_by(&mut list, |one, other| one.0.cmp(&other.0));
        assert_eq!(list, [(1, 'b'), (1, 'e'), (2, 'a'), (2, 'd'), (3, 'c')]);
        let mut none: Vec<(u8, char)> = Vec::new();
        sort_by(&mut none, Ord::cmp);
        assert_eq!(none, []);
    }
}
