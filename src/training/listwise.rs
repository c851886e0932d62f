//! The weights under which what was hidden is most likely: a softmax over the candidates' weighted sums, as in ListNet with one top place (Cao et al.,
//! "Learning to rank: from pairwise approach to listwise approach", ICML 2007).
//!
//! For a case with scaled features `f` and hidden items `R`, the loss is `log Σⱼ exp(w·fⱼ) − 1/|R| Σᵢ∈R w·fᵢ`, which is convex in `w`. Weights are kept positive as
//! `w = exp(p)`, and `p` goes downhill by Adam (Kingma & Ba, ICLR 2015) in a fixed number of steps.

use rayon::prelude::*;

use crate::engine::scorers::{ByScorer, SCORERS};

use super::blending::Scored;

const N: usize = SCORERS.len();
const STEPS: i32 = 120;
const RATE: f64 = 0.15;
/// Where each weight begins, before they are brought to a sum of 1.
const BEGIN: f64 = 0.3;

/// Weights that sum to 1; those below a two-hundredth are 0. Each case comes with the scales that its features are divided by.
pub(super) fn fit(cases: &[(&Scored, &ByScorer<f32>)]) -> ByScorer<f32> {
    let mut logs = [BEGIN.ln(); N];
    let (mut first, mut second) = ([0.0f64; N], [0.0f64; N]);
    for step in 1..=STEPS {
        let weights = logs.map(f64::exp);
        let gradients: Vec<[f64; N]> =
            cases.par_iter().map(|(case, scales)| gradient(case, scales, &weights)).collect();
        for n in 0..N {
            let mean = gradients.iter().map(|gradient| gradient[n]).sum::<f64>() / cases.len().max(1) as f64;
            let slope = mean * weights[n];
            first[n] = 0.9 * first[n] + 0.1 * slope;
            second[n] = 0.999 * second[n] + 0.001 * slope * slope;
            let corrected = (first[n] / (1.0 - 0.9f64.powi(step)), second[n] / (1.0 - 0.999f64.powi(step)));
            logs[n] = (logs[n] - RATE * corrected.0 / (corrected.1.sqrt() + 1e-8)).clamp(-8.0, 4.0);
        }
    }
    let weights = logs.map(f64::exp);
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| if weight / sum < 0.005 { 0.0 } else { (weight / sum) as f32 })
}

/// What the loss of one case rises by with each weight: the features expected under the softmax less those of what was hidden.
fn gradient(case: &Scored, scales: &ByScorer<f32>, weights: &[f64; N]) -> [f64; N] {
    let hidden = case.relevant.iter().filter(|relevant| **relevant).count();
    if hidden == 0 {
        return [0.0; N];
    }
    let mut sums = vec![0.0f64; case.relevant.len()];
    let heard = || (0..N).filter_map(|n| Some((n, case.features[n].as_ref()?, 1.0 / f64::from(scales[n]))));
    for (n, scores, scale) in heard() {
        sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += weights[n] * scale * f64::from(*score));
    }
    let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    sums.iter_mut().for_each(|sum| *sum = (*sum - most).exp());
    let total: f64 = sums.iter().sum();
    let mut gradient = [0.0; N];
    for (n, scores, scale) in heard() {
        let excess = |(at, score): (usize, &f32)| {
            (sums[at] / total - f64::from(u8::from(case.relevant[at])) / hidden as f64) * f64::from(*score)
        };
        gradient[n] = scale * scores.iter().enumerate().map(excess).sum::<f64>();
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::blend::Features;

    /// Twelve candidates, two of them hidden: the first scorer knows them, the second knows them half of the time, the third never, the others say nothing.
    fn case(number: usize) -> Scored {
        let relevant: Vec<bool> = (0..12).map(|at| at == number % 12 || at == (number * 5 + 3) % 12).collect();
        let noise = |at: usize| ((at * 7 + number * 11) % 13) as f32 / 13.0;
        let told = |told: bool| (0..12).map(|at| if told && relevant[at] { 1.0 } else { 0.8 * noise(at) }).collect();
        let mut features = Features::default();
        (features[0], features[1], features[2]) =
            (Some(told(true)), Some(told(number.is_multiple_of(2))), Some(told(false)));
        Scored {
            user: number,
            domain: 0,
            items: 12,
            elsewhere: false,
            whole: true,
            features,
            count: relevant.iter().filter(|relevant| **relevant).count(),
            relevant,
            alone: [(0.0, 0.0); N],
        }
    }

    #[test]
    fn who_knows_more_weighs_more() {
        let cases: Vec<Scored> = (0..60).map(case).collect();
        let weights = fit(&cases.iter().map(|case| (case, &[1.0; N])).collect::<Vec<_>>());
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 0.05, "{weights:?}");
        assert!(weights[0] > 0.5 && weights[0] > weights[1] && weights[1] >= weights[2], "{weights:?}");
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (case, scales) = (case(4), [0.7; N]);
        let loss = |weights: &[f64; N]| {
            let sums: Vec<f64> = (0..12)
                .map(|at| (0..3).map(|n| weights[n] * f64::from(case.features[n].as_ref().unwrap()[at]) / 0.7).sum())
                .collect();
            let likely = sums.iter().zip(&case.relevant).filter(|(_, relevant)| **relevant).map(|(sum, _)| sum);
            sums.iter().map(|sum: &f64| sum.exp()).sum::<f64>().ln() - likely.sum::<f64>() / case.count as f64
        };
        let weights = std::array::from_fn(|n| 0.2 + 0.1 * n as f64);
        for (n, slope) in gradient(&case, &scales, &weights).into_iter().enumerate() {
            let (mut more, mut less) = (weights, weights);
            more[n] += 1e-5;
            less[n] -= 1e-5;
            assert!(((loss(&more) - loss(&less)) / 2e-5 - slope).abs() < 1e-4, "{n}");
        }
    }
}
