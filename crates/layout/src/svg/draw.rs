//! Puts boxes on a page and writes the SVG. Text is cut where it would not fit, never shrunk or broken; widths are estimated, because
//! which font the reader's machine has is not known.

use std::fmt::Write;

use super::boxes::{Frame, Role, Row};
use crate::{Firmware, Layout};

/// Millimetres of A4, short and long side.
const A4: (f64, f64) = (210.0, 297.0);
/// Units of the drawing: as printed on A4 without shrinking, one is a 96th of an inch.
const MARGIN: f64 = 28.0;
const WIDTH: f64 = 250.0;
const GUTTER: f64 = 64.0;
const GAP: f64 = 16.0;
const HEAD: f64 = 56.0;
const FOOT: f64 = 48.0;
const PAD: f64 = 6.0;
/// What a row grows when it is the whole of its box.
const GROW: f64 = 90.0;
/// Height of a line of text with normal, and with small letters.
const LINE: f64 = 14.0;
const SMALL: f64 = 11.0;

/// A box with its place.
struct Placed<'a> {
    frame: &'a Frame,
    x: f64,
    y: f64,
    height: f64,
    /// Top and height of each row.
    rows: Vec<(f64, f64)>,
}

/// The whole document.
pub(super) fn draw(layout: &Layout, frames: &[Frame], note: &str) -> String {
    let placed = place(frames);
    let right = placed.iter().map(|frame| frame.x + WIDTH).fold(0.0, f64::max);
    let below = placed.iter().map(|frame| frame.y + frame.height).fold(HEAD, f64::max);
    let (wide, high) = ((right + MARGIN).max(600.0), below + FOOT);
    // The side of the paper that shows the picture larger; nothing is enlarged beyond its natural size.
    let scale = |(w, h): (f64, f64)| (w / wide).min(h / high);
    let paper = |(w, h): (f64, f64)| (w / 25.4 * 96.0, h / 25.4 * 96.0);
    let (upright, across) = (paper(A4), paper((A4.1, A4.0)));
    let (page, size) = if scale(upright) > scale(across) { (A4, upright) } else { ((A4.1, A4.0), across) };
    let zoom = scale(size).min(1.0);
    let (view_width, view_height) = (size.0 / zoom, size.1 / zoom);

    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}mm\" height=\"{}mm\" viewBox=\"0 0 {view_width:.0} {view_height:.0}\" \
         font-family=\"'DejaVu Sans', 'Liberation Sans', Verdana, Arial, sans-serif\">",
        page.0, page.1
    );
    let machine = &layout.machine;
    let _ = writeln!(out, "<title>Storage of {}</title>", escape(&machine.hostname));
    let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>");
    let firmware = if machine.firmware == Firmware::Uefi { "UEFI" } else { "BIOS" };
    text(&mut out, MARGIN, 30.0, 17.0, "bold", "#000000", &format!("Storage of {}", machine.hostname));
    let about = format!("{}, {firmware}, {}", machine.system, machine.architecture);
    text(&mut out, MARGIN, 46.0, 10.0, "normal", "#444444", &about);
    lines(&mut out, &placed);
    for frame in &placed {
        draw_frame(&mut out, frame);
    }
    legend(&mut out, frames, view_height - 26.0);
    text(&mut out, MARGIN, view_height - 10.0, 8.0, "normal", "#444444", note);
    out.push_str("</svg>\n");
    out
}

/// Boxes of a column below each other, each as near as possible to the height of what it is made of.
fn place(frames: &[Frame]) -> Vec<Placed<'_>> {
    let mut placed: Vec<Placed<'_>> = Vec::new();
    let last = frames.iter().map(|frame| frame.column).max().unwrap_or(0);
    for column in 0..=last {
        let mut here: Vec<(f64, &Frame)> = frames
            .iter()
            .filter(|frame| frame.column == column)
            .map(|frame| (middle(&placed, frame), frame))
            .collect();
        here.sort_by(|a, b| a.0.total_cmp(&b.0));
        #[allow(clippy::cast_precision_loss, reason = "a machine has few columns")]
        let x = MARGIN + column as f64 * (WIDTH + GUTTER);
        let mut top = HEAD;
        for (middle, frame) in here {
            let (head, rows) = heights(frame);
            let height = head + rows.iter().sum::<f64>();
            let y = (middle - height / 2.0).max(top);
            let mut at = y + head;
            let rows = rows
                .into_iter()
                .map(|row| {
                    at += row;
                    (at - row, row)
                })
                .collect();
            placed.push(Placed { frame, x, y, height, rows });
            top = y + height + GAP;
        }
    }
    placed
}

/// The mean height of the rows that a box is made of.
#[allow(clippy::cast_precision_loss, reason = "a box is made of few rows")]
fn middle(placed: &[Placed<'_>], frame: &Frame) -> f64 {
    let sources: Vec<f64> = sources(placed, frame).iter().map(|(_, y, _)| *y).collect();
    if sources.is_empty() { 0.0 } else { sources.iter().sum::<f64>() / sources.len() as f64 }
}

/// Right end, height and role of each row that a box is made of.
fn sources(placed: &[Placed<'_>], frame: &Frame) -> Vec<(f64, f64, Role)> {
    let mut found = Vec::new();
    for below in placed {
        for (row, (y, height)) in below.frame.rows.iter().zip(&below.rows) {
            if row.anchor.as_ref().is_some_and(|anchor| frame.made_of.contains(anchor)) {
                found.push((below.x + WIDTH, y + height / 2.0, row.role));
            }
        }
    }
    found
}

/// Height of a box's heading and of each of its rows.
fn heights(frame: &Frame) -> (f64, Vec<f64>) {
    #[allow(clippy::cast_precision_loss, reason = "few lines")]
    let head = 2.0 * PAD + LINE + frame.lines.len() as f64 * SMALL;
    let rows = frame.rows.iter().map(|row| {
        let mut height = PAD + LINE;
        if !row.text.is_empty() && !is_short(row) {
            height += LINE;
        }
        if !row.id.is_empty() {
            height += SMALL;
        }
        if !mounts_fit(row) {
            height += LINE + 3.0;
        }
        height + row.share * GROW
    });
    (head, rows.collect())
}

/// Whether what lies there is told beside the name: a row of one line.
fn is_short(row: &Row) -> bool {
    row.id.is_empty()
        && row.mounts.is_empty()
        && width(&row.title, 11.0) + width(&row.text, 10.0) + width(&row.size, 9.0) < WIDTH - 44.0
}

/// Whether the mount points fit between the name and the size.
fn mounts_fit(row: &Row) -> bool {
    let pills: f64 = row.mounts.iter().map(|point| pill_width(point) + 4.0).sum();
    width(&row.title, 11.0) + pills + width(&row.size, 9.0) < WIDTH - 36.0
}

fn pill_width(point: &str) -> f64 {
    width(point, 10.0) + 10.0
}

/// Lines from what a box is made of to the box. Drawn first: where one has to pass a box, it passes behind it.
fn lines(out: &mut String, placed: &[Placed<'_>]) {
    for (i, frame) in placed.iter().enumerate() {
        let to = frame.y + PAD + LINE / 2.0 + 2.0;
        for (x, y, role) in sources(&placed[..i], frame.frame) {
            let bend = (x + frame.x) / 2.0;
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {y:.1} C{bend:.1} {y:.1} {bend:.1} {to:.1} {:.1} {to:.1}\" fill=\"none\" stroke=\"{}\" \
                 stroke-width=\"1.6\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>",
                frame.x - 6.0,
                role.look().1,
                role.look().1
            );
            let _ =
                writeln!(out, "<path d=\"M{:.1} {to:.1} l-8 -4 v8 z\" fill=\"{}\"/>", frame.x, role.look().1);
        }
    }
}

fn draw_frame(out: &mut String, placed: &Placed<'_>) {
    let Placed { frame, x, y, height, rows } = placed;
    let (_, strong, light) = frame.role.look();
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{height:.1}\" rx=\"4\" fill=\"{light}\" stroke=\"{strong}\" \
         stroke-width=\"1.4\"/>"
    );
    let baseline = y + PAD + LINE - 3.0;
    let size = width(&frame.size, 10.0);
    text(out, x + 9.0, baseline, 12.0, "bold", strong, &cut(&frame.title, 12.5, WIDTH - 30.0 - size));
    end_text(out, x + WIDTH - 9.0, baseline, 10.0, strong, &frame.size);
    for (i, line) in frame.lines.iter().enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "few lines")]
        let at = baseline + (i + 1) as f64 * SMALL;
        text(out, x + 9.0, at, 8.0, "normal", "#333333", &cut(line, 8.0, WIDTH - 18.0));
    }
    for (row, (top, height)) in frame.rows.iter().zip(rows) {
        draw_row(out, row, *x, *top, *height);
    }
}

fn draw_row(out: &mut String, row: &Row, x: f64, y: f64, height: f64) {
    let (_, strong, light) = row.role.look();
    let dash = if matches!(row.role, Role::Free | Role::Unknown) { " stroke-dasharray=\"4 2\"" } else { "" };
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{light}\" stroke=\"{strong}\" stroke-width=\"0.8\"{dash}/>\
         <rect x=\"{:.1}\" y=\"{:.1}\" width=\"5\" height=\"{:.1}\" fill=\"{strong}\"/>",
        x + 4.0,
        y,
        WIDTH - 8.0,
        height - 3.0,
        x + 4.0,
        y,
        height - 3.0
    );
    let left = x + 14.0;
    let right = x + WIDTH - 9.0;
    let size = width(&row.size, 9.0);
    let mut at = y + LINE - 1.0;
    let title = cut(&row.title, 11.0, WIDTH - 40.0 - size);
    text(out, left, at, 10.5, "bold", "#000000", &title);
    end_text(out, right, at, 9.0, "#000000", &row.size);
    let fits = mounts_fit(row);
    if fits {
        let mut end = right - size - 6.0;
        for point in row.mounts.iter().rev() {
            end -= pill_width(point);
            pill(out, end, at, point, strong);
            end -= 4.0;
        }
    }
    if is_short(row) {
        text(out, left + width(&title, 11.0) + 8.0, at, 10.0, "normal", "#333333", &row.text);
    } else if !row.text.is_empty() {
        at += LINE;
        text(out, left, at, 10.0, "normal", "#000000", &cut(&row.text, 10.0, WIDTH - 26.0));
    }
    if !row.id.is_empty() {
        at += SMALL;
        text(out, left, at, 8.0, "normal", "#444444", &cut(&row.id, 8.0, WIDTH - 26.0));
    }
    if !fits {
        at += LINE + 2.0;
        let mut start = left;
        for (i, point) in row.mounts.iter().enumerate() {
            let rest = row.mounts.len() - i;
            let more = format!("and {rest} more");
            // Room for the words that stand for the others, unless this is the last.
            let reserve = if rest > 1 { width(&more, 10.0) + 8.0 } else { 0.0 };
            let room = right - start - reserve;
            if i > 0 && pill_width(point) > room {
                text(out, start, at, 10.0, "normal", "#000000", &more);
                break;
            }
            let point = cut(point, 10.0, room - 10.0);
            pill(out, start, at, &point, strong);
            start += pill_width(&point) + 4.0;
        }
    }
}

/// A mount point: white on dark, so that it is found at a glance.
fn pill(out: &mut String, x: f64, baseline: f64, point: &str, strong: &str) {
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13.5\" rx=\"3\" fill=\"{strong}\"/>",
        baseline - 10.5,
        pill_width(point)
    );
    text(out, x + 5.0, baseline, 9.5, "bold", "#ffffff", point);
}

fn legend(out: &mut String, frames: &[Frame], y: f64) {
    let mut roles: Vec<Role> =
        frames.iter().flat_map(|frame| frame.rows.iter().map(|row| row.role).chain([frame.role])).collect();
    roles.sort_unstable();
    roles.dedup();
    let mut x = MARGIN;
    for role in roles {
        let (word, strong, light) = role.look();
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"9\" fill=\"{light}\" stroke=\"{strong}\"/>\
             <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"4\" height=\"9\" fill=\"{strong}\"/>",
            y - 8.0,
            y - 8.0
        );
        text(out, x + 17.0, y, 8.5, "normal", "#000000", word);
        x += width(word, 8.5) + 34.0;
    }
}

fn text(out: &mut String, x: f64, y: f64, size: f64, weight: &str, colour: &str, words: &str) {
    if !words.is_empty() {
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{colour}\">{}</text>",
            escape(words)
        );
    }
}

fn end_text(out: &mut String, x: f64, y: f64, size: f64, colour: &str, words: &str) {
    if !words.is_empty() {
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
            escape(words)
        );
    }
}

/// Width of a text at this font size, estimated for a wide font (DejaVu Sans): rather too much than too little.
fn width(words: &str, size: f64) -> f64 {
    let unit: f64 = words
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '\'' | '|' | '.' | ',' | ':' | ';' | '!' | ' ' | '/' | '(' | ')' => 0.4,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.98,
            c if c.is_ascii_uppercase() => 0.74,
            c if c.is_ascii() => 0.64,
            // Letters of other scripts may be as wide as high.
            _ => 1.0,
        })
        .sum();
    unit * size
}

/// The text, or its beginning with an ellipsis where it is wider than the room.
fn cut(words: &str, size: f64, room: f64) -> String {
    if width(words, size) <= room {
        return words.to_owned();
    }
    let mut kept = String::new();
    for c in words.chars() {
        kept.push(c);
        if width(&kept, size) + size > room {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

/// Text for XML. What XML 1.0 does not allow at all (control characters in a label) becomes a question mark.
fn escape(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_label_is_text() {
        assert_eq!(escape("a<b>&\"\u{7}\n"), "a&lt;b&gt;&amp;&quot;??");
        assert_eq!(cut("short", 10.0, 100.0), "short");
        let long = cut(&"x".repeat(100), 10.0, 100.0);
        assert!(long.ends_with('…') && width(&long, 10.0) <= 106.0, "{long}");
        assert_eq!(cut("", 10.0, 0.0), "");
    }
}
