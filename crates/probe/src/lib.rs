//! Turns this machine into a layout, with evidence.
