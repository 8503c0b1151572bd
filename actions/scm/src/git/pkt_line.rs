//! Git's packet lines: four hex digits of length, then the content; `0000` separates.

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    /// `0000`
    Flush,
    /// Content, without the length.
    Data(Vec<u8>),
}

/// Why bytes are no packet lines.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not in git's packet format")]
pub(super) struct Malformed;

/// Cuts a byte stream into packets. Holds at most one packet (64 KiB) and the chunk pushed last.
#[derive(Debug, Default)]
pub(super) struct Packets {
    buffer: Vec<u8>,
    start: usize,
}

impl Packets {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete packet, `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, Malformed> {
        let rest = &self.buffer[self.start..];
        let Some(digits) = rest.get(..4) else { return Ok(None) };
        let length = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(Malformed)?;
        match length {
            // 1 and 2 are the delimiters of protocol version 2, which isn't spoken here.
            0 => {
                self.start += 4;
                Ok(Some(Packet::Flush))
            }
            1..=3 => Err(Malformed),
            _ => {
                let Some(content) = rest.get(4..length) else { return Ok(None) };
                let content = content.to_vec();
                self.start += length;
                Ok(Some(Packet::Data(content)))
            }
        }
    }

    /// Whether everything pushed has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }
}

/// A data packet. `content` is short: at most 65,516 bytes.
pub(super) fn encode(content: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", content.len() + 4).into_bytes();
    packet.extend_from_slice(content);
    packet
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn packets_come_whole_however_the_bytes_come() {
        let mut stream = encode(b"hello\n");
        stream.extend_from_slice(b"0000");
        stream.extend_from_slice(&encode(b""));
        let expected = [Packet::Data(b"hello\n".to_vec()), Packet::Flush, Packet::Data(Vec::new())];
        for size in [1, 3, 7, stream.len()] {
            let mut packets = Packets::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                packets.push(chunk);
                while let Some(packet) = packets.next().unwrap() {
                    seen.push(packet);
                }
            }
            assert_eq!(seen, expected, "{size}");
            assert!(packets.is_empty());
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for bytes in [&b"<html>"[..], b"0003", b"+123", b"\xff\xff\xff\xff"] {
            let mut packets = Packets::default();
            packets.push(bytes);
            assert!(packets.next().is_err(), "{bytes:?}");
        }
    }
}
