//! Methods of numbers.

use super::super::number::{exponential, fixed, precision, string};
use super::{Definition, variadic};

pub(super) static METHODS: [Definition; 4] = [
    variadic("toExponential", exponential),
    variadic("toFixed", fixed),
    variadic("toPrecision", precision),
    variadic("toString", string),
];

/// A number as `toLocaleString` writes it for `en-US`: thousands set apart by commas, at most three decimals.
pub(super) fn local_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number.is_infinite() {
        return format!("{sign}∞");
    }
    // The shortest digits that mean the number, as `d.ddde±x`, are what is rounded.
    let written = format!("{:e}", number.abs());
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let mut digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_digit).collect();
    // How many of the digits stand before the point.
    let mut whole = exponent.parse::<i32>().unwrap_or(0) + 1;
    let kept = whole + 3;
    if kept < digits.len() as i32 {
        let rounds_up = usize::try_from(kept).is_ok_and(|kept| digits[kept] >= b'5');
        digits.truncate(usize::try_from(kept).unwrap_or(0));
        if rounds_up && !increment(&mut digits) {
            digits.insert(0, b'1');
            whole += 1;
        }
    }
    let digit = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).map_or('0', |byte| char::from(*byte));
    let mut text = sign.to_owned();
    if whole <= 0 {
        text.push('0');
    }
    for at in 0..whole {
        text.push(digit(at));
        let remaining = whole - 1 - at;
        if remaining > 0 && remaining % 3 == 0 {
            text.push(',');
        }
    }
    let decimals: String = (whole..whole + 3).map(digit).collect();
    let decimals = decimals.trim_end_matches('0');
    if !decimals.is_empty() {
        text.push('.');
        text.push_str(decimals);
    }
    text
}

/// Adds one to the last of the digits; false when a digit is needed before the first.
fn increment(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return true;
        }
        *digit = b'0';
    }
    false
}

#[cfg(test)]
mod tests {
    use super::local_text;

    /// As `Number.prototype.toLocaleString` of Node 22 gives them for `en-US`.
    #[test]
    fn writes_for_readers() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.891, "1,234,567.891"),
            (-1234.5, "-1,234.5"),
            (1.0005, "1.001"),
            (1.0045, "1.005"),
            (0.0005, "0.001"),
            (0.0004, "0"),
            (-0.0001, "-0"),
            (0.05, "0.05"),
            (0.1235, "0.124"),
            (999.9995, "1,000"),
            (9.9999, "10"),
            (0.9999, "1"),
            (123_456_789_012_345_680_000.0, "123,456,789,012,345,680,000"),
            (1e21, "1,000,000,000,000,000,000,000"),
            (5e-324, "0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-∞"),
        ];
        for (number, expected) in cases {
            assert_eq!(local_text(number), expected, "{number}");
        }
    }
}
