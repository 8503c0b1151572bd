//! Medians, quantiles and what else is made of several figures.

/// The value below which a share of the values lies (nearest rank); 0 for none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

/// The middle value; of an even number the mean of the two in the middle; 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The smallest and the largest value; zeros for none.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().min_by(f64::total_cmp);
    let most = values.iter().copied().max_by(f64::total_cmp);
    (least.unwrap_or_default(), most.unwrap_or_default())
}

/// The exponent with which cost grows with size: the slope of a line through the logarithms. 1 is linear, 0 constant. `None`
/// with fewer than two sizes.
pub(crate) fn growth(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(size, cost)| *size > 0.0 && *cost > 0.0)
        .map(|(size, cost)| (size.ln(), cost.ln()))
        .collect();
    let count = logs.len() as f64;
    let (mean_x, mean_y) =
        (logs.iter().map(|(x, _)| x).sum::<f64>() / count, logs.iter().map(|(_, y)| y).sum::<f64>() / count);
    let spread: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (logs.len() > 1 && spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        for (values, middle, ends) in [
            (&[][..], 0.0, (0.0, 0.0)),
            (&[3.0], 3.0, (3.0, 3.0)),
            (&[9.0, 1.0, 2.0], 2.0, (1.0, 9.0)),
            (&[4.0, 1.0, 2.0, 3.0], 2.5, (1.0, 4.0)),
        ] {
            assert_eq!((median(values), range(values)), (middle, ends), "{values:?}");
        }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (share, wanted) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)] {
            assert_eq!(quantile(&hundred, share), wanted, "{share}");
        }
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn growth_is_the_exponent() {
        let of = |cost: &dyn Fn(f64) -> f64| growth(&[10.0, 100.0, 1000.0].map(|size| (size, cost(size)))).unwrap();
        assert!((of(&|size| 3.0 * size) - 1.0).abs() < 1e-9);
        assert!((of(&|size| size * size) - 2.0).abs() < 1e-9);
        assert!(of(&|_| 5.0).abs() < 1e-9);
        assert_eq!(growth(&[(1.0, 1.0)]), None);
        assert_eq!(growth(&[(0.0, 1.0), (5.0, 1.0)]), None);
    }
}
