//! The packets of the SSH file transfer protocol, version 3 (draft-ietf-secsh-filexfer-02): how they are written and read. No
//! connection, no files.

use std::io::Read;

/// No packet that we ask for is longer, in bytes.
const LIMIT: u32 = 1 << 20;

/// Kinds of packets.
pub mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED: u8 = 200;
}

/// What a server says of a request.
pub mod status {
    pub const OK: u32 = 0;
    pub const EOF: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
}

/// How a file is opened.
pub const READ: u32 = 1;
pub const WRITE: u32 = 2;
pub const CREATE: u32 = 8;
pub const TRUNCATE: u32 = 16;

/// Attributes that are there.
const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 1 << 31;

/// A packet that is being written.
pub struct Packet(Vec<u8>);

impl Packet {
    pub fn bare(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    pub fn number(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    pub fn long(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// With its length in front.
    pub fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// Attributes of which only the mode is given.
pub fn mode(packet: &mut Packet, mode: u32) {
    packet.number(HAS_MODE);
    packet.number(mode);
}

/// One packet, without its length.
pub fn read(input: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length == 0 || length > LIMIT {
        // Most often the text of a login script.
        let text = "what answered is no sftp server";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
    }
    let mut packet = vec![0; length as usize];
    input.read_exact(&mut packet)?;
    Ok(packet)
}

/// A packet that is being read.
pub struct Fields<'p>(&'p [u8]);

impl<'p> Fields<'p> {
    pub fn new(packet: &'p [u8]) -> Self {
        Self(packet)
    }

    pub fn rest(&self) -> &'p [u8] {
        self.0
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn number(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    fn long(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*first))
    }

    pub fn bytes(&mut self) -> Option<&'p [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads attributes for the size in them; zero where there is none.
    pub fn size(&mut self) -> Option<u64> {
        let flags = self.number()?;
        let size = if flags & HAS_SIZE != 0 { self.long()? } else { 0 };
        if flags & HAS_OWNER != 0 {
            self.long()?;
        }
        if flags & HAS_MODE != 0 {
            self.number()?;
        }
        if flags & HAS_TIMES != 0 {
            self.long()?;
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..self.number()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_cut_packets_give_none() {
        let mut packet = Packet::bare(kind::NAME);
        packet.number(7);
        packet.bytes(b"name");
        packet.number(HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES | HAS_MORE);
        packet.long(1 << 40);
        packet.long(0);
        packet.number(0o644);
        packet.long(0);
        packet.number(1);
        packet.bytes(b"x");
        packet.bytes(b"y");
        let bytes = packet.finish();
        let whole = read(&mut bytes.as_slice()).unwrap();
        let parse = |packet: &[u8]| {
            let mut fields = Fields::new(packet);
            Some((
                fields.byte()?,
                fields.number()?,
                fields.bytes()?.to_vec(),
                fields.size()?,
                fields.rest().len(),
            ))
        };
        assert_eq!(parse(&whole), Some((kind::NAME, 7, b"name".to_vec(), 1 << 40, 0)));
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert!(read(&mut &b"Welcome to this machine"[..]).is_err());
        assert!(read(&mut &bytes[..10]).is_err());
    }
}
