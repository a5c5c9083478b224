//! Choices, drawn from an input: the same bytes, the same choices.

/// The part of an input that nothing was drawn from yet; zeros follow its end.
pub(super) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (drawn, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut array = [0; N];
        array[..drawn.len()].copy_from_slice(drawn);
        array
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(super) fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `end`, or 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.short()) % end.max(1)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// These bytes with one change: a byte replaced, left out or put in, the end cut off, two bytes swapped.
    pub(super) fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        let (kind, at, byte) = (self.byte(), self.below(bytes.len() + 1), self.byte());
        match kind % 8 {
            0 => changed.insert(at, byte),
            1 => changed.truncate(at),
            _ if at == bytes.len() => changed.push(byte),
            2 => _ = changed.remove(at),
            3 => changed.swap(at, self.below(bytes.len())),
            _ => changed[at] ^= byte.max(1),
        }
        changed
    }
}
