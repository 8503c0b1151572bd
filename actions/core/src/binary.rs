//! Whether a file is text, judged by its beginning as npm `isbinaryfile` 5 does.

/// How much of a file has to be looked at.
pub(crate) const SAMPLE: usize = SCANNED + 3;
const SCANNED: usize = 512;

/// Whether the file that begins with these bytes (up to [`SAMPLE`] of them) is binary.
pub(crate) fn is_binary(head: &[u8]) -> bool {
    const TEXT_MARKS: [&[u8]; 6] =
        [b"\xef\xbb\xbf", b"\x00\x00\xfe\xff", b"\xff\xfe\x00\x00", b"\x84\x31\x95\x33", b"\xfe\xff", b"\xff\xfe"];
    if head.is_empty() || TEXT_MARKS.iter().any(|mark| head.starts_with(mark)) {
        return false;
    }
    if head.starts_with(b"%PDF-") {
        return true;
    }
    let scanned = head.len().min(SCANNED);
    let mut suspicious = 0;
    let mut at = 0;
    while at < scanned {
        let byte = head[at];
        if byte == 0 {
            return true;
        }
        if matches!(byte, 7..=14 | 32..=127) {
            at += 1;
            continue;
        }
        let length = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let whole = at + length <= head.len();
        if length > 1 && whole && head[at + 1..at + length].iter().all(|byte| matches!(byte, 0x80..=0xbf)) {
            at += length;
            continue;
        }
        // The byte after a broken sequence's first one is passed over.
        let last = if length > 1 && whole { at + 1 } else { at };
        suspicious += 1;
        if last >= 32 && suspicious * 100 > scanned * 10 {
            return true;
        }
        at = last + 1;
    }
    suspicious * 100 > scanned * 10 || (suspicious > 1 && is_protobuf(&head[..scanned]))
}

/// Whether the bytes read as protobuf messages, the last one possibly cut off.
fn is_protobuf(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut messages = 0;
    loop {
        match skip_field(rest) {
            Field::Whole(after) => rest = after,
            Field::CutOff => return messages > 0,
            Field::Malformed => return false,
        }
        messages += 1;
    }
}

enum Field<'a> {
    Whole(&'a [u8]),
    CutOff,
    Malformed,
}

fn skip_field(bytes: &[u8]) -> Field<'_> {
    let Some((tag, rest)) = varint(bytes) else {
        return Field::CutOff;
    };
    let skip = match tag & 7 {
        0 => {
            return match varint(rest) {
                Some((_, rest)) => Field::Whole(rest),
                None => Field::CutOff,
            };
        }
        1 => 8,
        2 => match varint(rest) {
            Some((length, after)) => {
                return match usize::try_from(length).ok().and_then(|length| after.get(length..)) {
                    Some(after) => Field::Whole(after),
                    // A negative length takes nothing.
                    None if length < 0 => Field::Whole(after),
                    None => Field::CutOff,
                };
            }
            None => return Field::CutOff,
        },
        5 => 4,
        _ => return Field::Malformed,
    };
    rest.get(skip..).map_or(Field::CutOff, Field::Whole)
}

/// A varint as JavaScript's 32-bit arithmetic sees it; `None` when it is cut off or too long.
fn varint(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let mut value = 0_i32;
    for (index, byte) in bytes.iter().enumerate().take(11) {
        value |= i32::from(byte & 0x7f).wrapping_shl(7 * index as u32);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Recorded from npm `isbinaryfile` 5: hexadecimal beginnings of files.
    #[test]
    fn agrees_with_isbinaryfile() {
        let cases: Vec<(String, bool)> = serde_json::from_str(include_str!("../tests/data/binary.json")).unwrap();
        assert!(cases.len() > 200);
        let wrong: Vec<_> = cases
            .iter()
            .filter(|(hex, expected)| {
                let bytes: Vec<u8> =
                    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect();
                is_binary(&bytes[..bytes.len().min(SAMPLE)]) != *expected
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), cases.len(), &wrong[..wrong.len().min(5)]);
    }
}
