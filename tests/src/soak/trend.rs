//! Numbers out of many numbers.

use std::time::Duration;

/// The slope of the line that lies nearest to these points, by least squares; none for a single moment.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (mut over, mut under) = (0.0, 0.0);
    for point in points {
        over += (point.0 - x) * (point.1 - y);
        under += (point.0 - x).powi(2);
    }
    (under > 0.0).then(|| over / under)
}

/// The value that so many in a hundred do not exceed.
pub(super) fn percentile(values: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_own() {
        let line: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) - 7.0)).collect();
        let found = slope(&line).expect("a slope");
        assert!((found - 3.0).abs() < 1e-9, "{found}");
        assert_eq!(slope(&[(1.0, 2.0), (1.0, 5.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    #[test]
    fn half_of_the_values_do_not_exceed_the_median() {
        let of = |values: &[u64]| values.iter().map(|v| Duration::from_secs(*v)).collect::<Vec<_>>();
        assert_eq!(percentile(&of(&[5, 1, 3]), 50), Some(Duration::from_secs(3)));
        assert_eq!(percentile(&of(&[1, 2, 3, 4]), 95), Some(Duration::from_secs(4)));
        assert_eq!(percentile(&[], 50), None);
    }
}
