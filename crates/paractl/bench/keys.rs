//! Which key comes next: all alike, or some more often than others.
//!
//! **Never:** used for anything that must not be guessed; the numbers are the same in every run.

/// Pseudo-random numbers: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all of them.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number from 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform below `bound`, which is at least 1; the error is below 2^-64.
    fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default()
    }
}

/// A distribution over the numbers below a bound.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// All alike.
    Uniform {
        /// The bound.
        count: u64,
    },
    /// Number k with a weight of 1 / (k + 1)^s.
    Zipf(Zipf),
}

impl Keys {
    /// `count` keys, with the exponent `zipf` where there is one.
    pub(super) fn new(count: u64, zipf: Option<f64>) -> Self {
        match zipf {
            None => Self::Uniform { count },
            Some(exponent) => Self::Zipf(Zipf::new(count, exponent)),
        }
    }

    /// The next key.
    pub(super) fn next(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform { count } => random.below(*count),
            Self::Zipf(zipf) => zipf.next(random),
        }
    }
}

/// Rejection-inversion sampling (Hörmann and Derflinger, 1996): constant time whatever the bound.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral of the density up to the first and the last number.
    first: f64,
    last: f64,
    /// Within this distance of a number nothing needs to be rejected.
    sure: f64,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "a bench has fewer than 2^53 keys")]
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count: count as f64, exponent, first: 0.0, last: 0.0, sure: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.count + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - 2_f64.powf(-exponent));
        zipf
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number lies between 1 and the count"
    )]
    fn next(&self, random: &mut Random) -> u64 {
        loop {
            let at = self.last + random.unit() * (self.first - self.last);
            let x = self.inverse(at);
            let number = x.round().clamp(1.0, self.count);
            let weight = number.powf(-self.exponent);
            if number - x <= self.sure || at >= self.integral(number + 0.5) - weight {
                return number as u64 - 1;
            }
        }
    }

    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_over((1.0 - self.exponent) * log) * log
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.exponent)).max(-1.0);
        (ln1p_over(t) * y).exp()
    }
}

/// (e^x - 1) / x, also near zero.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// ln(1 + x) / x, also near zero.
fn ln1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(keys: &Keys, count: usize) -> Vec<f64> {
        let mut random = Random::new(7);
        let mut counts = vec![0_u32; count];
        for _ in 0..200_000 {
            counts[usize::try_from(keys.next(&mut random)).unwrap()] += 1;
        }
        counts.into_iter().map(|n| f64::from(n) / 200_000.0).collect()
    }

    #[test]
    fn a_zipf_distribution_has_its_weights() {
        for exponent in [0.5, 0.99, 1.0, 2.0] {
            let weights: Vec<f64> = (1..=50).map(|k| f64::from(k).powf(-exponent)).collect();
            let sum: f64 = weights.iter().sum();
            let found = frequencies(&Keys::new(50, Some(exponent)), 50);
            for (weight, found) in weights.iter().zip(&found) {
                assert!((weight / sum - found).abs() < 0.005, "{exponent}: {weight} {found}");
            }
        }
    }

    #[test]
    fn uniform_keys_are_all_alike_and_one_key_is_always_the_same() {
        for found in frequencies(&Keys::new(20, None), 20) {
            assert!((found - 0.05).abs() < 0.005);
        }
        assert_eq!(frequencies(&Keys::new(1, Some(0.99)), 1), [1.0]);
    }
}
