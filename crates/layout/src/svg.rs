//! The storage as a picture (SVG) to print: disks at the left, to their right what is made of them, up to mount points.
//!
//! The picture is one page (A4, upright or across, whichever shows it larger), in plain SVG 1.1 without scripts, external fonts or
//! links. What it says does not depend on colour, so that it can be printed in black. It decides nothing and changes nothing.

mod boxes;
mod draw;

use crate::Layout;

impl Layout {
    /// The picture as a whole SVG document. `note` stands at its foot, for what the layout does not know: when and from what
    /// the picture was made.
    pub fn svg(&self, note: &str) -> String {
        draw::draw(self, &boxes::boxes(self), note)
    }
}
