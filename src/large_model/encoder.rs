//! A BERT encoder in the process (feature `candle`): texts to unit vectors, from a local folder with `model.safetensors`, `tokenizer.json` and
//! `config.json`, as sentence encoders are published. Mean pooling over the tokens (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019).

use std::path::Path;

use candle_core::{DType, Device, IndexOp as _, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{Encoding, Tokenizer, TruncationParams};

/// The most tokens of a text that count; BERT has places for as many.
const MOST_TOKENS: usize = 512;
/// So many texts, and tokens with padding, go through the layers at once, or one text alone.
const BATCH: usize = 16;
const BATCH_TOKENS: usize = 1_024;

/// An encoder that is loaded.
pub struct Encoder {
    model: BertModel,
    tokenizer: Tokenizer,
    device: Device,
    dimensions: usize,
    /// What short texts are filled up with.
    padding: u32,
}

impl Encoder {
    /// Loads a folder.
    ///
    /// # Errors
    /// What is missing or wrong there.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let within = |name: &str, error: String| format!("{}: {error}", folder.join(name).display());
        let read = |name: &str| std::fs::read(folder.join(name)).map_err(|error| within(name, error.to_string()));
        let config: serde_json::Value =
            serde_json::from_slice(&read("config.json")?).map_err(|e| within("config.json", e.to_string()))?;
        if config["model_type"] != "bert" {
            return Err(within("config.json", format!("model_type is {}, not \"bert\"", config["model_type"])));
        }
        let places = config["max_position_embeddings"].as_u64().and_then(|places| usize::try_from(places).ok());
        let config: Config = serde_json::from_value(config).map_err(|e| within("config.json", e.to_string()))?;
        let mut tokenizer =
            Tokenizer::from_bytes(read("tokenizer.json")?).map_err(|e| within("tokenizer.json", e.to_string()))?;
        let truncation = TruncationParams {
            max_length: places.unwrap_or(MOST_TOKENS).min(MOST_TOKENS),
            ..TruncationParams::default()
        };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| within("tokenizer.json", e.to_string()))?;
        tokenizer.with_padding(None);
        let padding = u32::try_from(config.pad_token_id).unwrap_or(0);
        let device = Device::Cpu;
        let weights = |error: candle_core::Error| within("model.safetensors", error.to_string());
        let variables =
            VarBuilder::from_buffered_safetensors(read("model.safetensors")?, DType::F32, &device).map_err(weights)?;
        let model = BertModel::load(variables, &config).map_err(weights)?;
        Ok(Self { model, tokenizer, device, dimensions: config.hidden_size, padding })
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// A unit vector for each text, in their order. Takes the processor for as long as it lasts.
    ///
    /// # Errors
    /// What the tokenizer or a layer says; a vector that is not finite.
    pub fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, String> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encoded = self.tokenizer.encode_batch(texts, true).map_err(|error| error.to_string())?;
        let mut vectors = vec![Vec::new(); encoded.len()];
        for places in batches(&encoded.iter().map(Encoding::len).collect::<Vec<_>>()) {
            let batch: Vec<&Encoding> = places.iter().map(|&place| &encoded[place]).collect();
            for (&place, vector) in places.iter().zip(self.forward(&batch).map_err(|error| error.to_string())?) {
                if vector.iter().any(|value| !value.is_finite()) {
                    return Err("a vector is not finite".into());
                }
                vectors[place] = vector;
            }
        }
        Ok(vectors)
    }

    fn forward(&self, encoded: &[&Encoding]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = encoded.iter().map(|row| row.len()).max().unwrap_or(0);
        let stack = |of: &dyn Fn(&Encoding) -> &[u32], padding: u32| {
            let filled = |row: &&Encoding| {
                let numbers = of(row).iter().copied().chain(std::iter::repeat(padding)).take(longest);
                Tensor::new(numbers.collect::<Vec<u32>>(), &self.device)
            };
            let rows: candle_core::Result<Vec<Tensor>> = encoded.iter().map(filled).collect();
            Tensor::stack(&rows?, 0)
        };
        let tokens = stack(&|row| row.get_ids(), self.padding)?;
        let mask = stack(&|row| row.get_attention_mask(), 0)?;
        let hidden = self.model.forward(&tokens, &tokens.zeros_like()?, Some(&mask))?;
        // The mean over the tokens that are no padding, brought to length 1.
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let mean = hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
        let unit = mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)?;
        (0..encoded.len()).map(|row| unit.i(row)?.to_vec1()).collect()
    }
}

/// The places of texts of so many tokens, those of like length together: the short ones of a batch are carried along at the length of its longest.
fn batches(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&place| lengths[place]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for place in order {
        let fits = |batch: &&mut Vec<usize>| batch.len() < BATCH && (batch.len() + 1) * lengths[place] <= BATCH_TOKENS;
        match batches.last_mut().filter(fits) {
            Some(batch) => batch.push(place),
            None => batches.push(vec![place]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_does_not_make_short_ones_long() {
        let mut lengths = vec![20; 40];
        lengths[7] = 512;
        lengths[9] = 500;
        let batches = batches(&lengths);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 6, 2]);
        assert_eq!(batches[3], [9, 7]);
        let mut places = batches.concat();
        places.sort_unstable();
        assert_eq!(places, (0..40).collect::<Vec<_>>());
    }
}
