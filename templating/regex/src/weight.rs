//! How large a pattern gets once it is compiled.

use crate::Flags;

/// An estimate, in states of an automaton: counted repetitions are written out, classes take as many states as their
/// encoding has.
pub(crate) fn weight(pattern: &str, flags: Flags) -> u64 {
    let cased = if flags.ignore_case { 2 } else { 1 };
    let mut rest = pattern.chars().peekable();
    // What the groups around weigh so far, and what a repetition would repeat.
    let mut outer = Vec::new();
    let (mut sum, mut last) = (0_u64, 0_u64);
    while let Some(character) = rest.next() {
        let atom = match character {
            '\\' => escape(&mut rest),
            '[' => cased * class(&mut rest),
            '.' => 30,
            '(' => {
                outer.push(sum);
                (sum, last) = (0, 0);
                continue;
            }
            ')' => {
                let group = sum.saturating_add(2);
                sum = outer.pop().unwrap_or(0);
                group
            }
            '{' => {
                let ahead: String = rest.clone().take(24).take_while(|c| *c != '}').collect();
                if let Some(count) = largest(&ahead) {
                    sum = sum.saturating_add(last.saturating_mul(count.saturating_sub(1)));
                    rest.nth(ahead.len());
                    last = 0;
                    continue;
                }
                1
            }
            other if other.is_ascii() => cased,
            _ => 3 * cased,
        };
        sum = sum.saturating_add(atom);
        last = atom;
    }
    outer.into_iter().fold(sum, u64::saturating_add)
}

/// The larger number of `n`, `n,` or `n,m`.
fn largest(inside: &str) -> Option<u64> {
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX));
    let (least, most) = (number(least).filter(|_| !least.is_empty())?, if most.is_empty() { 0 } else { number(most)? });
    Some(least.max(most))
}

type Rest<'p> = std::iter::Peekable<std::str::Chars<'p>>;

fn escape(rest: &mut Rest<'_>) -> u64 {
    match rest.next() {
        Some('d' | 'w' | 's') => 12,
        Some('D' | 'W' | 'S') => 40,
        Some('b' | 'B') => 8,
        Some('p' | 'P') => 400,
        _ => 3,
    }
}

fn class(rest: &mut Rest<'_>) -> u64 {
    let mut weight = if rest.peek() == Some(&'^') { 30 } else { 4 };
    while let Some(character) = rest.next() {
        weight += match character {
            ']' => break,
            '\\' => escape(rest),
            other if other.is_ascii() => 1,
            _ => 4,
        };
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_written_out() {
        let weight = |pattern: &str| weight(pattern, Flags::default());
        assert_eq!(weight("abc"), 3);
        assert_eq!(weight("a{10}"), 10);
        assert_eq!(weight("a{2,10}b"), 11);
        assert_eq!(weight("(?:ab){10}"), 10 * (weight("(?:ab)")));
        assert_eq!(weight("a{,3}"), 5);
        assert!(weight("(?:a{1000}){1000}") >= 1_000_000);
        assert!(weight("(((((a{1000}){1000}){1000}){1000}){1000}){99999999999999999999}") > 1 << 50);
        assert!(weight("[^a]{100}") > 2 * weight("[ab]{100}"));
        for odd in ["", "(", ")", "[", "[\\", "\\", "{", "a{", "a{1", "((", "))"] {
            assert!(weight(odd) < 50, "{odd}");
        }
    }
}
