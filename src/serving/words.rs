//! Words: the reasons of an answer in the caller's language, and a programme note over its lists, by the large model that the settings name for it. What it
//! writes is checked; where it fails, plain words stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{join, join_all};

use crate::domain::{Degradation, Domain, Item, Language, Query, RankedItem, Reason, Recommendation, Story, Wording};
use crate::large_model::faithful::Facts;
use crate::large_model::{ProviderError, words};

use super::Service;
use super::locked::{Locked, beside};
use super::rerank::degradation;

/// So many items of each list a programme note may speak of, and so many in all.
const OF_EACH: usize = 3;
const IN_ALL: usize = 12;

impl Service {
    /// Puts the reasons of an answer into words, and writes the note that was asked for, both within what is left of the caller's time since `started`.
    pub async fn put_into_words(
        &self,
        query: &Query,
        wording: &Wording,
        started: Instant,
        answer: &mut Recommendation,
    ) -> Option<Story> {
        let provider = self.providers.words.as_ref();
        if !wording.story && (provider.is_none() || !query.explain) {
            return None;
        }
        let texts = query.tastes.iter().map(|taste| taste.text.as_str());
        let language = wording.language.or_else(|| Language::of_texts(texts)).unwrap_or(Language::ENGLISH);
        let Some(provider) = provider else {
            answer.degraded.extend([Degradation::NoStory, Degradation::LlmNotConfigured]);
            answer.degraded.sort_unstable();
            answer.degraded.dedup();
            return None;
        };
        let patience = self.patience(query, started);
        let templates: BTreeSet<String> = match query.explain {
            true => reasons(answer).filter_map(words::template).collect(),
            false => BTreeSet::new(),
        };
        let shown = if wording.story { shown(answer) } else { Vec::new() };
        let writing = join_all(templates.into_iter().map(async |template| {
            let written = provider.write(words::reason(&template, language), patience).await;
            (template, written)
        }));
        let telling = async {
            if shown.is_empty() {
                return None;
            }
            let items: Vec<&Item> = shown.iter().map(|item| &**item).collect();
            Some(provider.write(words::story(&items, language), patience).await)
        };
        let (written, told) = join(writing, telling).await;
        let (mut lists, with_story) = (std::mem::take(&mut answer.lists), wording.story);
        let check = move |locked: &Locked| {
            let catalogue = locked.read();
            let facts = Facts { catalogue: &catalogue, language };
            let mut degraded = reword(&facts, &written.into_iter().collect(), &mut lists);
            let story = if with_story { tell(&facts, told, &shown, &mut degraded) } else { None };
            (lists, story, degraded)
        };
        let (lists, story, degraded) = beside(&self.catalogue.locked, check).await;
        answer.lists = lists;
        answer.degraded.extend(degraded);
        answer.degraded.sort_unstable();
        answer.degraded.dedup();
        story
    }
}

/// By template: what the model made of it.
type Written = BTreeMap<String, Result<Arc<str>, ProviderError>>;

fn reasons(answer: &Recommendation) -> impl Iterator<Item = &Reason> {
    answer.lists.iter().flat_map(|(_, list)| list).flat_map(|ranked| &ranked.reasons)
}

/// The head of each list, as long as there is room.
fn shown(answer: &Recommendation) -> Vec<Arc<Item>> {
    let heads = answer.lists.iter().flat_map(|(_, list)| list.iter().take(OF_EACH));
    heads.take(IN_ALL).map(|ranked| Arc::clone(&ranked.item)).collect()
}

/// Puts what was written in the place of plain reasons where it may stand there; gives what that went without.
fn reword(facts: &Facts<'_>, written: &Written, lists: &mut [(Domain, Vec<RankedItem>)]) -> Vec<Degradation> {
    let mut degraded = Vec::new();
    for reason in lists.iter_mut().flat_map(|(_, list)| list).flat_map(|ranked| &mut ranked.reasons) {
        let Some(template) = words::template(reason) else { continue };
        match written.get(&template) {
            Some(Ok(text)) => match facts.reason(reason.code, &template, text, &reason.names) {
                Some(text) => reason.text = text,
                None => degraded.extend([Degradation::PlainWords, Degradation::LlmUnavailable]),
            },
            Some(Err(error)) => degraded.extend([Degradation::PlainWords, degradation(error)]),
            None => {}
        }
    }
    degraded
}

/// The note, if it may be told.
fn tell(
    facts: &Facts<'_>,
    told: Option<Result<Arc<str>, ProviderError>>,
    shown: &[Arc<Item>],
    degraded: &mut Vec<Degradation>,
) -> Option<Story> {
    let items: Vec<&Item> = shown.iter().map(|item| &**item).collect();
    match told {
        Some(Ok(text)) => {
            if let Some((text, places)) = facts.story(&text, &items) {
                let items = places.into_iter().map(|place| items[place].id.clone()).collect();
                return Some(Story { text, items, language: facts.language });
            }
            degraded.extend([Degradation::NoStory, Degradation::LlmUnavailable]);
        }
        Some(Err(error)) => degraded.extend([Degradation::NoStory, degradation(&error)]),
        // Nothing to tell of.
        None => degraded.push(Degradation::NoStory),
    }
    None
}
