//! A BERT encoder in the process (feature `candle`): texts to unit vectors, from a local folder with `model.safetensors`, `tokenizer.json` and
//! `config.json`, as sentence encoders are published. Mean pooling over the tokens (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019).

use std::path::Path;

use candle_core::{DType, Device, IndexOp as _, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

/// The most tokens of a text that count; BERT has places for as many.
const MOST_TOKENS: usize = 512;
/// So many texts go through the layers at once.
const BATCH: usize = 16;

/// An encoder that is loaded.
pub struct Encoder {
    model: BertModel,
    tokenizer: Tokenizer,
    device: Device,
    dimensions: usize,
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
        let pad_id = u32::try_from(config.pad_token_id).unwrap_or(0);
        tokenizer.with_padding(Some(PaddingParams { pad_id, ..PaddingParams::default() }));
        let device = Device::Cpu;
        let weights = |error: candle_core::Error| within("model.safetensors", error.to_string());
        let variables =
            VarBuilder::from_buffered_safetensors(read("model.safetensors")?, DType::F32, &device).map_err(weights)?;
        let model = BertModel::load(variables, &config).map_err(weights)?;
        Ok(Self { model, tokenizer, device, dimensions: config.hidden_size })
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
        // Texts of like length share a batch, or the short ones would be carried along at the length of the longest.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&place| texts[place].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for places in order.chunks(BATCH) {
            let batch: Vec<&str> = places.iter().map(|&place| texts[place].as_str()).collect();
            for (&place, vector) in places.iter().zip(self.embed_batch(batch)?) {
                vectors[place] = vector;
            }
        }
        Ok(vectors)
    }

    fn embed_batch(&self, texts: Vec<&str>) -> Result<Vec<Vec<f32>>, String> {
        let encoded = self.tokenizer.encode_batch(texts, true).map_err(|error| error.to_string())?;
        let pooled = self.forward(&encoded).map_err(|error| error.to_string())?;
        if pooled.iter().flatten().any(|value| !value.is_finite()) {
            return Err("a vector is not finite".into());
        }
        Ok(pooled)
    }

    fn forward(&self, encoded: &[tokenizers::Encoding]) -> candle_core::Result<Vec<Vec<f32>>> {
        let stack = |of: &dyn Fn(&tokenizers::Encoding) -> Vec<u32>| {
            let rows: candle_core::Result<Vec<Tensor>> =
                encoded.iter().map(|row| Tensor::new(of(row), &self.device)).collect();
            Tensor::stack(&rows?, 0)
        };
        let tokens = stack(&|row| row.get_ids().to_vec())?;
        let mask = stack(&|row| row.get_attention_mask().to_vec())?;
        let hidden = self.model.forward(&tokens, &tokens.zeros_like()?, Some(&mask))?;
        // The mean over the tokens that are no padding, brought to length 1.
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let mean = hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
        let unit = mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)?;
        (0..encoded.len()).map(|row| unit.i(row)?.to_vec1()).collect()
    }
}
