//! Vectors of texts: kept by provider, model, revision, length and text, and never mixed.

use medley::domain::VectorSource;
use medley::store::{StoreError, TextVector};

use crate::database::Database;

on_both_databases!(vectors_are_kept_by_their_source, what_is_no_vector_is_not_kept);

fn source(provider: &str, model: &str, revision: &str) -> VectorSource {
    VectorSource { provider: provider.into(), model: model.into(), revision: revision.into() }
}

async fn vectors_are_kept_by_their_source(database: &Database) {
    let store = database.store().await;
    let all = [source("p", "m", ""), source("q", "m", ""), source("p", "n", ""), source("p", "m", "2")];
    for (number, source) in all.iter().enumerate() {
        let of = |text: u8, length: usize| -> TextVector { ([text; 32], vec![number as f32 + 0.5; length]) };
        store.keep_text_vectors(source, &[of(9, 2), of(1, 2), of(5, 3), of(1, 3)]).await.unwrap();
        // A second answer to the same text changes nothing.
        store.keep_text_vectors(source, &[([1; 32], vec![-7.0, 7.0])]).await.unwrap();
    }
    for (number, source) in all.iter().enumerate() {
        let (mut found, mut page) = (Vec::new(), store.text_vectors(source, None, 3).await.unwrap());
        while let Some(last) = page.last().cloned() {
            found.append(&mut page);
            page = store.text_vectors(source, Some(&last), 3).await.unwrap();
        }
        let expected =
            [(1, 2), (9, 2), (1, 3), (5, 3)].map(|(text, length)| ([text; 32], vec![number as f32 + 0.5; length]));
        assert_eq!(found, expected);
    }
    assert!(store.text_vectors(&source("p", "m", "3"), None, 9).await.unwrap().is_empty());
}

async fn what_is_no_vector_is_not_kept(database: &Database) {
    let store = database.store().await;
    let source = source("p", "m", "");
    for broken in [vec![], vec![f32::NAN, 1.0], vec![1.0, f32::INFINITY]] {
        let kept = store.keep_text_vectors(&source, &[([1; 32], vec![1.0, 0.0]), ([2; 32], broken)]).await;
        assert!(matches!(kept, Err(StoreError::Failed(_))));
    }
    assert!(store.text_vectors(&source, None, 9).await.unwrap().is_empty());
}
