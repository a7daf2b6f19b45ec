//! Carries a plan out, once, resumably.
