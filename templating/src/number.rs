//! Numbers as ECMAScript reads and writes them.

use crate::string::is_js_whitespace;

/// JavaScript's `**`. ECMAScript differs from IEEE 754 where a base of ±1 meets an infinity, and V8 computes with the
/// algorithm of `fdlibm`, whose last digit is not always that of the platform's function.
pub(crate) fn power(base: f64, exponent: f64) -> f64 {
    if exponent.is_nan() || (base.abs() == 1.0 && exponent.is_infinite()) {
        return f64::NAN;
    }
    libm::pow(base, exponent)
}

/// The text of a number as JavaScript's `String(n)` gives it: `1`, `0.1`, `1e+21`, `1e-7`, `NaN`, `Infinity`.
pub fn js_number_to_string(number: f64) -> String {
    if let Some(text) = non_finite(number) {
        return text.to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{}", number as i64);
    }
    let (digits, exponent) = shortest_digits(number.abs());
    let sign = if number < 0.0 { "-" } else { "" };
    let count = digits.len() as i32;
    // `point` is where the decimal point stands, counted from the first digit.
    let point = exponent + 1;
    if (1..=21).contains(&point) {
        if point >= count {
            format!("{sign}{digits}{}", "0".repeat((point - count) as usize))
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{sign}{whole}.{fraction}")
        }
    } else if (-5..=0).contains(&point) {
        format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
    } else {
        format!("{sign}{}", exponential(&digits, exponent))
    }
}

fn non_finite(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number == f64::INFINITY {
        Some("Infinity")
    } else if number == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

/// The fewest significant digits that read back as `number`, and the power of ten of the first.
fn shortest_digits(number: f64) -> (String, i32) {
    split_scientific(&format!("{number:e}"))
}

/// All significant digits of the binary value; there are never more than 767.
fn exact_digits(number: f64) -> (String, i32) {
    split_scientific(&format!("{number:.800e}"))
}

fn split_scientific(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn exponential(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{}", exponent.unsigned_abs())
}

/// Rounds exact digits to `count` of them, halves upwards. A carry out of the first digit raises the exponent.
fn round_digits(digits: &str, exponent: i32, count: usize) -> (String, i32) {
    let bytes = digits.as_bytes();
    let mut kept: Vec<u8> = bytes.iter().copied().chain(std::iter::repeat(b'0')).take(count).collect();
    let up = bytes.get(count).is_some_and(|next| *next >= b'5');
    let mut exponent = exponent;
    if up {
        let mut carry = true;
        for digit in kept.iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                carry = false;
                break;
            }
        }
        if carry {
            kept.insert(0, b'1');
            if count > 0 {
                kept.pop();
            }
            exponent += 1;
        }
    }
    (kept.into_iter().map(char::from).collect(), exponent)
}

/// `Number.prototype.toFixed` for 0 to 100 fraction digits.
pub(crate) fn to_fixed(number: f64, fraction: usize) -> String {
    if number.is_nan() || number.abs() >= 1e21 {
        return js_number_to_string(number);
    }
    let (digits, exponent) = if number == 0.0 { ("0".to_owned(), 0) } else { exact_digits(number.abs()) };
    let wanted = exponent + 1 + fraction as i32;
    let (digits, exponent) =
        if wanted < 0 { (String::new(), exponent) } else { round_digits(&digits, exponent, wanted as usize) };
    // As an integer scaled by 10^fraction.
    let mut scaled = digits;
    let missing = exponent + 1 + fraction as i32 - scaled.len() as i32;
    if missing > 0 && !scaled.is_empty() {
        scaled.push_str(&"0".repeat(missing as usize));
    }
    if scaled.len() <= fraction {
        scaled = format!("{}{scaled}", "0".repeat(fraction + 1 - scaled.len()));
    }
    let (whole, rest) = scaled.split_at(scaled.len() - fraction);
    let sign = if number < 0.0 && scaled.bytes().any(|digit| digit != b'0') { "-" } else { "" };
    // JavaScript keeps the sign of a negative number that rounds to zero.
    let sign = if number < 0.0 && sign.is_empty() { "-" } else { sign };
    if fraction == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

/// `Number.prototype.toExponential`; without a count, as many digits as are needed.
pub(crate) fn to_exponential(number: f64, fraction: Option<usize>) -> String {
    if let Some(text) = non_finite(number) {
        return text.to_owned();
    }
    let sign = if number < 0.0 { "-" } else { "" };
    let (digits, exponent) = match fraction {
        _ if number == 0.0 => ("0".repeat(fraction.unwrap_or(0) + 1), 0),
        None => shortest_digits(number.abs()),
        Some(fraction) => {
            let (digits, exponent) = exact_digits(number.abs());
            round_digits(&digits, exponent, fraction + 1)
        }
    };
    format!("{sign}{}", exponential(&digits, exponent))
}

/// `Number.prototype.toPrecision` for 1 to 100 significant digits.
pub(crate) fn to_precision(number: f64, precision: usize) -> String {
    if let Some(text) = non_finite(number) {
        return text.to_owned();
    }
    let sign = if number < 0.0 { "-" } else { "" };
    let (digits, exponent) = if number == 0.0 {
        ("0".repeat(precision), 0)
    } else {
        let (digits, exponent) = exact_digits(number.abs());
        round_digits(&digits, exponent, precision)
    };
    if exponent < -6 || exponent >= precision as i32 {
        return format!("{sign}{}", exponential(&digits, exponent));
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if whole == digits.len() {
        format!("{sign}{digits}")
    } else {
        let (whole, fraction) = digits.split_at(whole);
        format!("{sign}{whole}.{fraction}")
    }
}

/// `Number.prototype.toString` with a radix of 2 to 36.
pub(crate) fn to_radix(number: f64, radix: u32) -> String {
    if radix == 10 {
        return js_number_to_string(number);
    }
    if let Some(text) = non_finite(number) {
        return text.to_owned();
    }
    let digit = |value: u32| char::from_digit(value, radix).unwrap_or('0');
    let base = f64::from(radix);
    let magnitude = number.abs();
    let mut whole = magnitude.trunc();
    let mut fraction = magnitude.fract();
    let mut text = Vec::new();
    loop {
        text.push(digit((whole % base) as u32));
        whole = (whole / base).trunc();
        if whole == 0.0 {
            break;
        }
    }
    if number < 0.0 {
        text.push('-');
    }
    text.reverse();
    if fraction > 0.0 {
        text.push('.');
        // Digits until what is left is within half a unit in the last place, as V8 does.
        let mut delta = (0.5 * (f64::from_bits(magnitude.to_bits() + 1) - magnitude)).max(f64::from_bits(1));
        loop {
            fraction *= base;
            delta *= base;
            let value = fraction.trunc();
            fraction -= value;
            let mut value = value as u32;
            if (fraction > 0.5 || (fraction == 0.5 && value % 2 == 1)) && fraction + delta > 1.0 {
                value += 1;
                // A carry out of this digit runs into those before it.
                while value == radix {
                    match text.pop() {
                        Some('.') | None => {
                            value = 0;
                            text.push('.');
                            break;
                        }
                        Some(previous) => value = previous.to_digit(radix).unwrap_or(0) + 1,
                    }
                }
                text.push(digit(value));
                break;
            }
            text.push(digit(value));
            if fraction < delta {
                break;
            }
        }
    }
    text.into_iter().collect()
}

/// `Number(text)`: blank is 0, `0x`/`0o`/`0b` prefixes count, anything else that is not wholly a number is NaN.
pub(crate) fn string_to_number(text: &str) -> f64 {
    let text = text.trim_matches(is_js_whitespace);
    if text.is_empty() {
        return 0.0;
    }
    if let Some(prefix) = text.get(..2) {
        let radix = match prefix {
            "0x" | "0X" => 16,
            "0o" | "0O" => 8,
            "0b" | "0B" => 2,
            _ => 10,
        };
        if radix != 10 {
            let digits = &text[2..];
            let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
            return if valid { digits_to_number(digits, radix) } else { f64::NAN };
        }
    }
    let length = decimal_prefix(text);
    if length == text.len() { parse_decimal(text) } else { f64::NAN }
}

/// `parseFloat(text)`: the longest decimal prefix.
pub(crate) fn parse_float(text: &str) -> f64 {
    let text = text.trim_start_matches(is_js_whitespace);
    match decimal_prefix(text) {
        0 => f64::NAN,
        length => parse_decimal(&text[..length]),
    }
}

/// `parseInt(text, radix)`: the longest prefix of digits.
pub(crate) fn parse_int(text: &str, radix: f64) -> f64 {
    let text = text.trim_start_matches(is_js_whitespace);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let requested = to_int32(radix);
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (radix, text) = match (requested, hexadecimal) {
        (0 | 16, Some(rest)) => (16, rest),
        (0, None) => (10, text),
        (2..=36, _) => (requested as u32, text),
        _ => return f64::NAN,
    };
    let end = text.find(|digit: char| !digit.is_digit(radix)).unwrap_or(text.len());
    if end == 0 {
        return f64::NAN;
    }
    let value = digits_to_number(&text[..end], radix);
    if negative { -value } else { value }
}

/// ECMAScript's `ToInt32`.
pub(crate) fn to_int32(number: f64) -> i32 {
    if !number.is_finite() {
        return 0;
    }
    let modulo = number.trunc().rem_euclid(4_294_967_296.0);
    // In 0..2^32 by construction; the wrap to i32 is the meaning of the operation.
    modulo as u32 as i32
}

fn digits_to_number(digits: &str, radix: u32) -> f64 {
    if radix == 10 {
        return digits.parse().unwrap_or(f64::NAN);
    }
    digits
        .chars()
        .filter_map(|digit| digit.to_digit(radix))
        .fold(0.0, |value, digit| value * f64::from(radix) + f64::from(digit))
}

/// The byte length of the decimal literal (or signed `Infinity`) that `text` starts with.
fn decimal_prefix(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits_from = |start: usize| bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    if text[sign..].starts_with("Infinity") {
        return sign + "Infinity".len();
    }
    let whole = digits_from(sign);
    let mut end = sign + whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits_from(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return 0;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = if signed <= bytes.len() { digits_from(signed) } else { 0 };
        if exponent > 0 {
            end = signed + exponent;
        }
    }
    end
}

fn parse_decimal(text: &str) -> f64 {
    match text.trim_start_matches(['+', '-']) {
        "Infinity" if text.starts_with('-') => f64::NEG_INFINITY,
        "Infinity" => f64::INFINITY,
        _ => text.parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_javascript() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1e+21"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e15, "1000000000000000"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, expected) in cases {
            assert_eq!(js_number_to_string(number), expected);
        }
    }

    #[test]
    fn fixed_rounds_the_exact_value_and_halves_up() {
        let cases = [
            (2.5, 0, "3"),
            (1.005, 2, "1.00"),
            (1.45, 1, "1.4"),
            (-2.5, 0, "-3"),
            (0.0, 2, "0.00"),
            (0.000_001, 2, "0.00"),
            (-0.000_001, 2, "-0.00"),
            (0.5, 0, "1"),
            (0.05, 1, "0.1"),
            (999.995, 2, "1000.00"),
            (0.999, 1, "1.0"),
            (123.456, 5, "123.45600"),
            (1e21, 2, "1e+21"),
        ];
        for (number, fraction, expected) in cases {
            assert_eq!(to_fixed(number, fraction), expected, "{number} with {fraction}");
        }
    }

    #[test]
    fn exponential_and_precision() {
        assert_eq!(to_exponential(123_456.0, Some(2)), "1.23e+5");
        assert_eq!(to_exponential(123_456.0, None), "1.23456e+5");
        assert_eq!(to_exponential(0.0, Some(2)), "0.00e+0");
        assert_eq!(to_exponential(0.00015, Some(0)), "1e-4");
        assert_eq!(to_precision(123.456, 4), "123.5");
        assert_eq!(to_precision(0.000_123, 2), "0.00012");
        assert_eq!(to_precision(123_456.0, 2), "1.2e+5");
        assert_eq!(to_precision(99.99, 3), "100");
        assert_eq!(to_precision(0.0, 3), "0.00");
    }

    #[test]
    fn radixes() {
        assert_eq!(to_radix(255.0, 16), "ff");
        assert_eq!(to_radix(-255.0, 2), "-11111111");
        assert_eq!(to_radix(0.5, 2), "0.1");
        assert_eq!(to_radix(0.1, 3), "0.0022002200220022002200220022002201");
    }

    #[test]
    fn reads_as_javascript() {
        let cases = [
            ("", 0.0),
            (" 12 ", 12.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0x1F", 31.0),
            ("-Infinity", f64::NEG_INFINITY),
        ];
        for (text, expected) in cases {
            assert_eq!(string_to_number(text), expected, "{text:?}");
        }
        for text in ["1x", "0x", "1e", "+", ".", "--1", "inf", "nan", "1_0", "0x1.5"] {
            assert!(string_to_number(text).is_nan(), "{text:?}");
        }
        assert_eq!(parse_float("3.5abc"), 3.5);
        assert_eq!(parse_float("1e"), 1.0);
        assert!(parse_float("abc").is_nan());
        assert_eq!(parse_int("0x1f", 0.0), 31.0);
        assert_eq!(parse_int("12px", 10.0), 12.0);
        assert_eq!(parse_int("-101", 2.0), -5.0);
        assert!(parse_int("", 10.0).is_nan());
        assert!(parse_int("5", 1.0).is_nan());
    }
}
