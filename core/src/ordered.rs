//! Maps and sets from iterators, in little code.

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
