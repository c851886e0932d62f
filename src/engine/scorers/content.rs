//! Content: items that resemble the history, or meet the tastes, in genres, tags, creators and text.
