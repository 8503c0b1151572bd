//! Plots: lines over sizes, both axes logarithmic.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Left, top, right, bottom.
const MARGIN: [f64; 4] = [70.0, 40.0, 150.0, 50.0];
const COLORS: [&str; 5] = ["#0b6e4f", "#c1440e", "#6b7280", "#7c3aed", "#0369a1"];

/// A line: its name and its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// From the power of ten at or below the least to the one at or above the most.
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        let (low, high) = (least.log10().floor(), most.log10().ceil());
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        ((self.low as i32)..=(self.high as i32)).map(|power| 10_f64.powi(power))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('`', "")
}

/// A number as it stands at an axis.
fn label(value: f64) -> String {
    match value {
        value if value >= 1_000_000.0 => format!("{} M", value / 1_000_000.0),
        value if value >= 1000.0 => format!("{} k", value / 1000.0),
        value => format!("{value}"),
    }
}

/// A plot as an SVG document. Points that are not positive are left out; `None` when none are left.
pub(crate) fn plot(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> Option<String> {
    let positive = |line: &Line| line.points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect::<Vec<_>>();
    let lines: Vec<(&str, Vec<(f64, f64)>)> = lines
        .iter()
        .map(|line| (line.name.as_str(), positive(line)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let all: Vec<(f64, f64)> = lines.iter().flat_map(|(_, points)| points.clone()).collect();
    if all.is_empty() {
        return None;
    }
    let [left, top, right, bottom] = MARGIN;
    let x = Axis::new(all.iter().map(|point| point.0), left, WIDTH - right);
    let y = Axis::new(all.iter().map(|point| point.1), HEIGHT - bottom, top);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    // Writing to a text can't fail.
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {top}V{:.1}\" stroke=\"#e5e7eb\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - bottom,
            HEIGHT - bottom + 18.0,
            label(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#e5e7eb\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - right,
            left - 8.0,
            at + 4.0,
            label(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n<text x=\"16\" y=\"{:.1}\" text-anchor=\"middle\" \
         transform=\"rotate(-90 16 {:.1})\">{}</text>",
        f64::midpoint(left, WIDTH - right),
        HEIGHT - 12.0,
        escaped(x_name),
        f64::midpoint(top, HEIGHT - bottom),
        f64::midpoint(top, HEIGHT - bottom),
        escaped(y_name)
    );
    for (number, (name, points)) in lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let path: Vec<String> = points.iter().map(|(px, py)| format!("{:.1} {:.1}", x.at(*px), y.at(*py))).collect();
        let _ = writeln!(svg, "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>", path.join("L"));
        for (px, py) in points {
            let _ =
                writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{color}\"/>", x.at(*px), y.at(*py));
        }
        let at = top + 10.0 + 18.0 * number as f64;
        let from = WIDTH - right + 12.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            at - 6.0,
            from + 18.0,
            escaped(name)
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        Line { name: name.to_owned(), points: points.to_vec() }
    }

    #[test]
    fn axes_span_powers_of_ten() {
        let axis = Axis::new([3.0, 250.0].into_iter(), 0.0, 300.0);
        assert_eq!((axis.low, axis.high), (0.0, 3.0));
        assert_eq!((axis.at(1.0), axis.at(10.0), axis.at(1000.0)), (0.0, 100.0, 300.0));
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1000.0]);
        let flat = Axis::new([10.0].into_iter(), 0.0, 1.0);
        assert_eq!((flat.low, flat.high), (1.0, 2.0));
    }

    #[test]
    fn a_plot_is_well_formed_and_shows_each_line() {
        let lines = [
            line("a<b", &[(1.0, 2.0), (10.0, 20.0)]),
            line("b", &[(1.0, 0.0), (10.0, 5.0)]),
            line("left out", &[(0.0, 1.0)]),
        ];
        let svg = plot("`x` & y", "files", "ms", &lines).unwrap();
        assert!(svg.contains("x &amp; y") && svg.contains("a&lt;b") && !svg.contains("left out"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3);
        for tag in ["text", "svg"] {
            assert_eq!(svg.matches(&format!("<{tag}")).count(), svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(plot("t", "x", "y", &[line("a", &[(1.0, -1.0)])]), None);
    }
}
