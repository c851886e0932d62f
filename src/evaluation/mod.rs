//! Evaluation: metrics over full rankings.
