//! Loops over long rows of numbers, compiled for each width of vector instructions.

use pulp::Arch;

/// Adds `factor` times `values` to `sums`, place by place.
pub(super) fn add_scaled(sums: &mut [f32], factor: f32, values: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        },
    );
}

/// Adds `factor` times `parts` to `sums`, place by place as far as there are parts.
pub(super) fn add_parts(sums: &mut [f32], factor: f32, parts: &[u8]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (sum, &part) in sums.iter_mut().zip(parts) {
                *sum += factor * f32::from(part);
            }
        },
    );
}

/// Adds `factor` times the upper halves of `entries`, as signed numbers, to the `sums` that their lower halves say.
pub(in crate::engine) fn scatter(sums: &mut [f32], factor: f32, entries: &[u32]) {
    const LANES: usize = 8;
    let value = |entry: u32| factor * (entry.cast_signed() >> 16) as f32;
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let chunks = entries.chunks_exact(LANES);
            for &entry in chunks.remainder() {
                sums[(entry & 0xffff) as usize] += value(entry);
            }
            for chunk in chunks {
                // Made eight at a time; only the adding goes one by one.
                let mut values = [0.0f32; LANES];
                for lane in 0..LANES {
                    values[lane] = value(chunk[lane]);
                }
                for lane in 0..LANES {
                    sums[(chunk[lane] & 0xffff) as usize] += values[lane];
                }
            }
        },
    );
}

/// Adds all of `rows`, each of the length of `sums`, two in a pass.
pub(super) fn add_rows(sums: &mut [f32], rows: &[&[f32]]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let pairs = rows.chunks_exact(2);
            for row in pairs.remainder() {
                for (sum, value) in sums.iter_mut().zip(*row) {
                    *sum += value;
                }
            }
            for pair in pairs {
                for ((sum, a), b) in sums.iter_mut().zip(pair[0]).zip(pair[1]) {
                    *sum += a + b;
                }
            }
        },
    );
}

/// `1 - Π (1 - weight · rowᵢ)` of the rows, place by place.
pub(super) fn at_least_one(size: usize, weight: f32, rows: &[&[f32]]) -> Vec<f32> {
    let mut unmet = vec![1.0f32; size];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in rows {
                for (unmet, met) in unmet.iter_mut().zip(*row) {
                    *unmet *= 1.0 - weight * met;
                }
            }
            unmet.iter_mut().for_each(|unmet| *unmet = 1.0 - *unmet);
        },
    );
    unmet
}

/// The scalar product of two vectors of the same length, in sixteen lanes.
pub(in crate::engine) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut lanes = [0.0f32; LANES];
            let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
            for (a, b) in a_chunks.zip(b_chunks) {
                for lane in 0..LANES {
                    lanes[lane] += a[lane] * b[lane];
                }
            }
            lanes.iter().sum::<f32>() + rest
        },
    )
}

/// What the blend of scorers and tastes comes to, place by place: `scorers · squash(sumsᵢ + reach · lengthsᵢ) + tastesᵢ`, where `squash` is [`super::blend::squash`].
pub(super) fn totals(sums: &[f32], reach: f32, lengths: &[f32], scorers: f32, tastes: &[f32]) -> Vec<f32> {
    const NOTHING: f32 = super::blend::NOTHING;
    let mut totals = vec![0.0f32; sums.len()];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let each = totals.iter_mut().zip(sums).zip(lengths).zip(tastes);
            for (((total, sum), length), tastes) in each {
                let sum = sum + reach * length;
                let small = 1.0 / (1.0 + sum.abs());
                let squashed = if sum >= 0.0 { NOTHING + (1.0 - 2.0 * NOTHING) * sum * small } else { NOTHING * small };
                *total = scorers * squashed + tastes;
            }
        },
    );
    totals
}

#[cfg(test)]
mod tests {
    use super::super::blend::squash;
    use super::*;

    #[test]
    fn loops_give_what_they_say() {
        let row = |seed: usize| (0..67).map(|n| ((n * 31 + seed * 17) % 23) as f32 / 11.5 - 1.0).collect::<Vec<f32>>();
        let (a, b, c) = (row(1), row(2), row(3));
        let mut sums = a.clone();
        add_rows(&mut sums, &[&a, &b, &c]);
        add_scaled(&mut sums, 0.5, &c);
        let parts: Vec<u8> = (0..60).map(|n| n % 33).collect();
        add_parts(&mut sums, 0.125, &parts);
        let entries: Vec<u32> =
            (0..21).map(|n| (n * 5 % 67) | u32::from((n as i16 * 900 - 9_000).cast_unsigned()) << 16).collect();
        let mut scattered = vec![1.0f32; 67];
        scatter(&mut scattered, 0.5, &entries);
        for n in 0..67 {
            let value = (0..21).find(|k| k * 5 % 67 == n).map_or(0.0, |k| 0.5 * (k as f32 * 900.0 - 9_000.0));
            assert_eq!(scattered[n as usize], 1.0 + value);
        }
        let totals = totals(&sums, 0.25, &b, 0.3, &c);
        let met = at_least_one(67, 0.6, &[&a, &b]);
        for n in 0..67 {
            let part = parts.get(n).copied().map_or(0.0, f32::from);
            assert!((sums[n] - (2.0 * a[n] + b[n] + 1.5 * c[n] + 0.125 * part)).abs() < 1e-5);
            assert!((totals[n] - (0.3 * squash(sums[n] + 0.25 * b[n]) + c[n])).abs() < 1e-6);
            assert!((met[n] - (1.0 - (1.0 - 0.6 * a[n]) * (1.0 - 0.6 * b[n]))).abs() < 1e-6);
        }
        let plain: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        assert!((dot(&a, &b) - plain).abs() < 1e-4);
    }
}
