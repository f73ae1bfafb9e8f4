//! A cursor over bytes from the wire: every read is checked, and none can panic.

/// The number of zeros at the start of `bytes`: padding, of which there may be a kilobyte.
pub fn zeros(bytes: &[u8]) -> usize {
    const WORD: usize = 16;
    let words = bytes
        .chunks_exact(WORD)
        .take_while(|word| **word == [0; WORD])
        .count();
    let rest = &bytes[words * WORD..];
    words * WORD + rest.iter().take_while(|byte| **byte == 0).count()
}

/// The remaining bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The remaining bytes.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The number of remaining bytes.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, big-endian.
    pub fn u24(&mut self) -> Option<u32> {
        self.array::<3>()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Two bytes, little-endian.
    pub fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A vector with a one-byte length prefix.
    pub fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(n as usize)
    }

    /// A vector with a two-byte length prefix.
    pub fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(n as usize)
    }

    /// A vector with a three-byte length prefix.
    pub fn vec24(&mut self) -> Option<&'a [u8]> {
        let n = self.u24()?;
        self.take(n as usize)
    }
}

/// The 16-bit big-endian numbers of a list; an odd last byte is ignored.
pub fn u16s(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut c = Cursor::new(&[1, 0, 2, 9, 9, 7]);
        assert_eq!(c.u8(), Some(1));
        assert_eq!(c.vec16(), Some(&[9, 9][..]));
        assert_eq!(c.u16(), None);
        assert_eq!(c.rest(), [7], "a read that fails takes nothing");
        assert_eq!(c.u8(), Some(7));
        assert!(c.is_empty());
    }

    #[test]
    fn a_vector_longer_than_the_input_is_none() {
        assert_eq!(Cursor::new(&[5, 1, 2]).vec8(), None);
        assert_eq!(Cursor::new(&[0, 0, 4, 1]).vec24(), None);
        assert_eq!(u16s(&[0, 1, 0, 2, 3]).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn zeros_are_counted_to_the_first_other_byte() {
        for n in 0..70 {
            let mut bytes = vec![0; n];
            assert_eq!(zeros(&bytes), n);
            bytes.extend([7; 40]);
            assert_eq!(zeros(&bytes), n);
        }
    }
}
