//! An input is read as a small program. When its bytes are used up, it reads zeros.

pub(crate) struct Program<'a>(pub(crate) &'a [u8]);

impl<'a> Program<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Enough for every offset in a small file.
    pub(crate) fn u24(&mut self) -> usize {
        let [a, b, c] = self.array();
        u32::from_le_bytes([a, b, c, 0]) as usize
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Overwrites pieces of a file as the rest of the program says.
    pub(crate) fn overwrite(&mut self, file: &mut Vec<u8>) {
        while !self.is_over() {
            let (offset, length) = (self.u24() % (file.len() + 16), usize::from(self.byte()));
            let bytes = self.bytes(length);
            let end = offset + bytes.len();
            file.resize(file.len().max(end), 0);
            file[offset..end].copy_from_slice(bytes);
        }
    }
}
