//! The encoder in the process (feature `candle`), on a tiny model with random weights. `benches/encoder/run` holds real ones against a reference.

use std::collections::HashMap;
use std::path::Path;

use medley::large_model::encoder::Encoder;
use rand::{RngExt as _, SeedableRng as _};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

const HIDDEN: usize = 8;
const WORDS: [&str; 8] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "night", "of", "jazz"];

/// A model of one layer: deterministic weights, a word a token.
fn write_model(folder: &Path) {
    let config = json!({"model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "hidden_act": "gelu", "hidden_dropout_prob": 0.0,
        "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let vocabulary: HashMap<&str, usize> = WORDS.into_iter().zip(0..).collect();
    let special = |number: usize| {
        json!({"id": number, "content": WORDS[number], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let mark = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [mark("[CLS]"), sequence("A"), mark("[SEP]")], "pair": [sequence("A"), sequence("B")],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let values: Vec<u8> = (0..count).flat_map(|_| (random.random::<f32>() - 0.5).to_le_bytes()).collect();
        tensors.push((name.to_owned(), shape.to_vec(), values));
    };
    add("embeddings.word_embeddings.weight", &[WORDS.len(), HIDDEN]);
    add("embeddings.position_embeddings.weight", &[16, HIDDEN]);
    add("embeddings.token_type_embeddings.weight", &[2, HIDDEN]);
    for (name, rows, columns) in [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("intermediate.dense", 16, HIDDEN),
        ("output.dense", HIDDEN, 16),
    ] {
        add(&format!("encoder.layer.0.{name}.weight"), &[rows, columns]);
        add(&format!("encoder.layer.0.{name}.bias"), &[rows]);
    }
    for name in
        ["embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"]
    {
        add(&format!("{name}.weight"), &[HIDDEN]);
        add(&format!("{name}.bias"), &[HIDDEN]);
    }
    let views =
        tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn vectors_have_length_one_and_do_not_depend_on_what_else_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let encoder = Encoder::open(folder.path()).unwrap();
    assert_eq!(encoder.dimensions(), HIDDEN);
    let long = "rain ".repeat(100);
    let texts: Vec<String> =
        ["night of jazz", "", "rain", long.as_str(), "unknown words", "rain night rain night of rain"]
            .map(str::to_owned)
            .into();
    let together = encoder.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5, "{text:?}: {vector:?}");
        let alone = encoder.embed(std::slice::from_ref(text)).unwrap();
        assert!(cosine(vector, &alone[0]) > 0.999_99, "{text:?}: the padding beside longer texts counts");
    }
    assert!(cosine(&together[0], &together[2]) < 0.999, "texts differ");
    assert_eq!(encoder.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn a_folder_without_a_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Encoder::open(folder.path()).err().unwrap();
    assert!(open().contains("config.json"), "{}", open());
    write_model(folder.path());
    std::fs::write(folder.path().join("model.safetensors"), "no weights").unwrap();
    assert!(open().contains("model.safetensors"), "{}", open());
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    assert!(open().contains("llama"), "{}", open());
}
