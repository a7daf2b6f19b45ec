//! Cuts content where a rolling Rabin fingerprint says so, with the parameters of restic: what restic stored before is found
//! again. It holds no content and reads none.

use crate::crypto::random;
use crate::error::Result;

const WINDOW: usize = 64;
/// No chunk but the last of a file is shorter, in bytes.
pub const MIN: usize = 512 << 10;
/// No chunk is longer, in bytes.
pub const MAX: usize = 8 << 20;
/// One place in so many is a border.
const MASK: u64 = (1 << 20) - 1;
/// Degree of the polynomials that restic makes.
const DEGREE: u32 = 53;

/// The tables for one polynomial.
#[derive(Clone)]
pub struct Chunker {
    out: Box<[u64; 256]>,
    modulo: Box<[u64; 256]>,
    shift: u32,
}

fn degree(polynomial: u64) -> u32 {
    63_u32.saturating_sub(polynomial.leading_zeros())
}

/// The remainder of a polynomial over GF(2).
fn remainder(mut value: u64, by: u64) -> u64 {
    while value != 0 && degree(value) >= degree(by) {
        value ^= by << (degree(value) - degree(by));
    }
    value
}

/// The product of two remainders.
fn multiply(one: u64, mut other: u64, by: u64) -> u64 {
    let (mut factor, mut product) = (one, 0);
    while other != 0 {
        if other & 1 == 1 {
            product ^= factor;
        }
        factor = remainder(factor << 1, by);
        other >>= 1;
    }
    product
}

/// Whether a polynomial of degree 53 has no divisors. 53 is a prime: it has none when x^(2^53) = x modulo it, and neither
/// x nor x + 1 divides it.
fn is_irreducible(polynomial: u64) -> bool {
    if degree(polynomial) != DEGREE || polynomial & 1 == 0 || polynomial.count_ones().is_multiple_of(2) {
        return false;
    }
    let mut power = 2;
    for _ in 0..DEGREE {
        power = multiply(power, power, polynomial);
    }
    power == 2
}

/// A random irreducible polynomial for a new repository.
pub fn polynomial() -> Result<u64> {
    loop {
        let bits = u64::from_le_bytes(random::<8>()?);
        let candidate = bits & ((1 << DEGREE) - 1) | 1 << DEGREE | 1;
        if is_irreducible(candidate) {
            return Ok(candidate);
        }
    }
}

impl Chunker {
    /// For that polynomial; `None` where its degree is not 9 to 55, which no repository has.
    pub fn new(polynomial: u64) -> Option<Self> {
        let degree = degree(polynomial);
        if !(9..=55).contains(&degree) {
            return None;
        }
        let append = |hash: u64, byte: u64| remainder(hash << 8 | byte, polynomial);
        let (mut out, mut modulo) = (Box::new([0; 256]), Box::new([0; 256]));
        for byte in 0..256_u64 {
            let slot = usize::try_from(byte).unwrap_or(0);
            out[slot] = (1..WINDOW).fold(append(0, byte), |hash, _| append(hash, 0));
            modulo[slot] = remainder(byte << degree, polynomial) | byte << degree;
        }
        Some(Self { out, modulo, shift: degree - 8 })
    }

    /// Where the first chunk of the content ends, as a number of bytes; all of it where no border was found in it. To find a
    /// border, give at least [`MAX`] bytes or all that is left.
    pub fn cut(&self, content: &[u8]) -> usize {
        if content.len() <= MIN {
            return content.len();
        }
        let content = &content[..content.len().min(MAX)];
        // What comes before cannot influence the first place that may be a border, but for the one bit that the window of
        // a new chunk begins with; it has left the window by then.
        let mut digest = 0_u64;
        let slide = |digest: &mut u64, old: u8, new: u8| {
            *digest ^= self.out[usize::from(old)];
            #[allow(clippy::cast_possible_truncation, reason = "the low eight bits are meant")]
            let index = (*digest >> self.shift) as u8;
            *digest = (*digest << 8 | u64::from(new)) ^ self.modulo[usize::from(index)];
        };
        let start = MIN - WINDOW;
        for byte in &content[start..MIN - 1] {
            slide(&mut digest, 0, *byte);
        }
        // The window now holds 63 bytes; the first border is looked for with the 64th.
        slide(&mut digest, 0, content[MIN - 1]);
        if digest & MASK == 0 {
            return MIN;
        }
        for (at, pair) in content[start..].iter().zip(&content[MIN..]).enumerate() {
            slide(&mut digest, *pair.0, *pair.1);
            if digest & MASK == 0 {
                return MIN + at + 1;
            }
        }
        content.len()
    }
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_irreducible() {
        // The one of restic's own tests.
        assert!(is_irreducible(0x003D_A335_8B4D_C173));
        assert!(!is_irreducible(0x003D_A335_8B4D_C171));
        assert!(!is_irreducible(1 << 53 | 1));
        assert!(is_irreducible(polynomial().unwrap()));
    }

    #[test]
    fn the_same_content_is_cut_at_the_same_places_wherever_it_begins() {
        let chunker = Chunker::new(0x003D_A335_8B4D_C173).unwrap();
        let mut state = 23_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .take(20 << 20)
        .collect();
        let cuts = |content: &[u8]| {
            let (mut at, mut cuts) = (0, Vec::new());
            while at < content.len() {
                let length = chunker.cut(&content[at..]);
                assert!(length <= MAX && (length >= MIN || at + length == content.len()));
                at += length;
                cuts.push(content.len() - at);
            }
            cuts
        };
        let (all, shifted) = (cuts(&content), cuts(&content[1000..]));
        assert!(all.len() > 5);
        // Counted from the end; after the first border both agree.
        assert!(shifted.iter().filter(|cut| all.contains(cut)).count() >= all.len() - 3);
        assert_eq!(chunker.cut(&[]), 0);
        assert_eq!(chunker.cut(&vec![1; MIN]), MIN);
        assert!(Chunker::new(5).is_none());
    }
}
