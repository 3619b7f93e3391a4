//! How each kind of thing is drawn, in a box from -0.5 to 0.5 both ways, x to the right, y down.
//!
//! Our own drawings. Each keeps within [`Kind::half_extent`] and shows its named colour on most of its area. This
//! file refuses to know where things stand and what else is in the picture.

use tiny_skia::PathBuilder;

use super::draw::{Pen, shifted};
use super::scene::{Colour, Kind, Object, Rgb};

const DARK: Rgb = [40, 36, 40];
const SKIN: Rgb = [240, 200, 166];
const WOOD: Rgb = [112, 74, 44];
const GLASS: Rgb = [196, 224, 238];

/// Draws one object. `jitter` moves its colour a little, `variant` picks details that captions never name.
pub(super) fn draw_object(pen: &mut Pen<'_>, object: &Object, jitter: [i16; 3], variant: u32) {
    let named = object.colour.map_or([128; 3], Colour::rgb);
    let rgb = [0, 1, 2].map(|i| (i16::from(named[i]) + jitter[i]).clamp(0, 255) as u8);
    match object.kind {
        Kind::Circle => pen.ellipse(0.0, 0.0, 0.46, 0.46, rgb),
        Kind::Square => pen.rect(-0.43, -0.43, 0.86, 0.86, rgb),
        Kind::Triangle => pen.polygon(&[(0.0, -0.46), (0.46, 0.40), (-0.46, 0.40)], rgb),
        Kind::Star => star(pen, rgb),
        Kind::Heart => heart(pen, rgb),
        Kind::Diamond => pen.polygon(&[(0.0, -0.5), (0.38, 0.0), (0.0, 0.5), (-0.38, 0.0)], rgb),
        Kind::House => house(pen, rgb),
        Kind::Tree => tree(pen, rgb, variant),
        Kind::Sun => sun(pen),
        Kind::Moon => moon(pen),
        Kind::Boat => boat(pen, rgb),
        Kind::Person => person(pen, variant),
        Kind::Car => car(pen, rgb),
        Kind::Flower => flower(pen, rgb),
        Kind::Cat => cat(pen, rgb),
        Kind::Dog => dog(pen),
        Kind::Fish => fish(pen, rgb),
        Kind::Bird => bird(pen, rgb),
    }
}

/// A line colour that shows on `rgb`: dark on light paint, grey on dark paint.
fn ink(rgb: Rgb) -> Rgb {
    let brightness: u32 = rgb.iter().map(|v| u32::from(*v)).sum();
    if brightness < 150 { [150, 150, 156] } else { DARK }
}

/// Slightly darker paint for a second face; black gets lighter instead.
fn shade(rgb: Rgb) -> Rgb {
    let brightness: u32 = rgb.iter().map(|v| u32::from(*v)).sum();
    shifted(rgb, if brightness < 150 { 34 } else { -34 })
}

fn star(pen: &mut Pen<'_>, rgb: Rgb) {
    let points: Vec<(f32, f32)> = (0..10)
        .map(|i| {
            let angle = std::f32::consts::PI * (i as f32 / 5.0 - 0.5);
            let radius = if i % 2 == 0 { 0.5 } else { 0.21 };
            (radius * angle.cos(), 0.03 + radius * angle.sin())
        })
        .collect();
    pen.polygon(&points, rgb);
}

fn heart(pen: &mut Pen<'_>, rgb: Rgb) {
    let mut path = PathBuilder::new();
    path.move_to(0.0, 0.44);
    path.cubic_to(-0.30, 0.20, -0.48, 0.04, -0.48, -0.17);
    path.cubic_to(-0.48, -0.50, -0.10, -0.54, 0.0, -0.20);
    path.cubic_to(0.10, -0.54, 0.48, -0.50, 0.48, -0.17);
    path.cubic_to(0.48, 0.04, 0.30, 0.20, 0.0, 0.44);
    path.close();
    pen.fill(path.finish(), rgb);
}

fn house(pen: &mut Pen<'_>, rgb: Rgb) {
    let roof = [122, 66, 52];
    pen.rect(0.16, -0.42, 0.10, 0.22, shifted(roof, -16));
    pen.rect(-0.38, -0.10, 0.76, 0.58, rgb);
    pen.polygon(&[(0.0, -0.48), (0.48, -0.08), (-0.48, -0.08)], roof);
    pen.rect(-0.08, 0.18, 0.18, 0.30, WOOD);
    for x in [-0.31, 0.17] {
        pen.rect(x, 0.02, 0.15, 0.15, DARK);
        pen.rect(x + 0.02, 0.04, 0.11, 0.11, GLASS);
    }
}

fn tree(pen: &mut Pen<'_>, rgb: Rgb, variant: u32) {
    pen.rect(-0.06, 0.05, 0.12, 0.45, WOOD);
    // Firs are green only.
    let is_broad = variant.is_multiple_of(2) || rgb[0] > rgb[1];
    if is_broad {
        pen.ellipse(-0.15, -0.06, 0.21, 0.20, shade(rgb));
        pen.ellipse(0.15, -0.06, 0.21, 0.20, shade(rgb));
        pen.ellipse(0.0, -0.25, 0.25, 0.25, rgb);
        pen.ellipse(0.0, -0.05, 0.20, 0.16, rgb);
    } else {
        for (top, bottom, half) in [(-0.14, 0.22, 0.36), (-0.32, 0.02, 0.29), (-0.50, -0.18, 0.22)] {
            pen.polygon(&[(0.0, top), (half, bottom), (-half, bottom)], shade(rgb));
            pen.polygon(&[(0.0, top), (half, bottom - 0.04), (-half, bottom - 0.04)], rgb);
        }
    }
}

fn sun(pen: &mut Pen<'_>) {
    let rays: Rgb = [250, 176, 36];
    for i in 0..12 {
        let angle = std::f32::consts::PI * i as f32 / 6.0;
        let (x, y) = (angle.cos(), angle.sin());
        pen.polygon(
            &[
                (0.30 * x - 0.07 * y, 0.30 * y + 0.07 * x),
                (0.48 * x, 0.48 * y),
                (0.30 * x + 0.07 * y, 0.30 * y - 0.07 * x),
            ],
            rays,
        );
    }
    pen.ellipse(0.0, 0.0, 0.31, 0.31, [255, 206, 44]);
}

fn moon(pen: &mut Pen<'_>) {
    let mut path = PathBuilder::new();
    path.move_to(0.16, -0.46);
    path.cubic_to(-0.58, -0.46, -0.58, 0.46, 0.16, 0.46);
    path.cubic_to(-0.18, 0.26, -0.18, -0.26, 0.16, -0.46);
    path.close();
    pen.fill(path.finish(), [250, 240, 186]);
}

fn boat(pen: &mut Pen<'_>, rgb: Rgb) {
    pen.line(&[(0.0, -0.44), (0.0, 0.14)], 0.045, WOOD);
    pen.polygon(&[(0.04, -0.42), (0.40, 0.04), (0.04, 0.04)], [250, 246, 232]);
    pen.polygon(&[(-0.04, -0.36), (-0.36, 0.04), (-0.04, 0.04)], rgb);
    pen.polygon(&[(-0.50, 0.10), (0.50, 0.10), (0.34, 0.46), (-0.34, 0.46)], rgb);
    pen.line(&[(-0.47, 0.11), (0.47, 0.11)], 0.035, ink(rgb));
}

fn person(pen: &mut Pen<'_>, variant: u32) {
    const SHIRTS: [Rgb; 4] = [[96, 132, 168], [168, 108, 100], [120, 148, 110], [150, 126, 160]];
    let shirt = SHIRTS[variant as usize % SHIRTS.len()];
    for x in [-0.07, 0.07] {
        pen.line(&[(x, 0.12), (x * 1.4, 0.44)], 0.10, [84, 92, 134]);
    }
    pen.line(&[(-0.11, -0.12), (-0.21, 0.12)], 0.07, SKIN);
    pen.line(&[(0.11, -0.12), (0.21, 0.12)], 0.07, SKIN);
    pen.polygon(&[(-0.15, -0.17), (0.15, -0.17), (0.14, 0.17), (-0.14, 0.17)], shirt);
    pen.ellipse(0.0, -0.34, 0.15, 0.16, [70, 46, 34]);
    pen.ellipse(0.0, -0.31, 0.125, 0.125, SKIN);
    pen.ellipse(-0.045, -0.32, 0.017, 0.02, DARK);
    pen.ellipse(0.045, -0.32, 0.017, 0.02, DARK);
}

fn car(pen: &mut Pen<'_>, rgb: Rgb) {
    pen.polygon(&[(-0.30, 0.0), (-0.18, -0.28), (0.16, -0.28), (0.32, 0.0)], rgb);
    pen.polygon(&[(-0.23, -0.02), (-0.14, -0.22), (-0.03, -0.22), (-0.03, -0.02)], GLASS);
    pen.polygon(&[(0.03, -0.02), (0.03, -0.22), (0.13, -0.22), (0.24, -0.02)], GLASS);
    pen.polygon(&[(-0.50, -0.02), (0.44, -0.02), (0.51, 0.06), (0.51, 0.18), (-0.50, 0.18)], rgb);
    pen.rect(-0.50, 0.12, 1.01, 0.04, shade(rgb));
    for x in [-0.27, 0.28] {
        pen.ellipse(x, 0.17, 0.13, 0.13, DARK);
        pen.ellipse(x, 0.17, 0.06, 0.06, [186, 186, 190]);
    }
    pen.ellipse(0.48, 0.06, 0.03, 0.03, [255, 240, 180]);
}

fn flower(pen: &mut Pen<'_>, rgb: Rgb) {
    let stem = [58, 118, 58];
    pen.line(&[(0.0, -0.15), (0.0, 0.48)], 0.06, stem);
    pen.ellipse(-0.13, 0.31, 0.12, 0.06, stem);
    pen.ellipse(0.13, 0.24, 0.12, 0.06, stem);
    for i in 0..6 {
        let angle = std::f32::consts::PI * (i as f32 / 3.0 + 0.1);
        let (x, y) = (0.20 * angle.cos(), -0.17 + 0.20 * angle.sin());
        pen.ellipse(x, y, 0.13, 0.13, if i % 2 == 0 { rgb } else { shifted(rgb, -12) });
    }
    let heart: Rgb =
        if rgb[0] > 200 && rgb[1] > 120 && rgb[2] < 120 { [132, 78, 32] } else { [250, 206, 60] };
    pen.ellipse(0.0, -0.17, 0.10, 0.10, heart);
}

fn cat(pen: &mut Pen<'_>, rgb: Rgb) {
    let line = ink(rgb);
    let mut tail = PathBuilder::new();
    tail.move_to(0.16, 0.40);
    tail.cubic_to(0.39, 0.42, 0.37, 0.16, 0.31, 0.06);
    pen.stroke(tail.finish(), 0.08, shade(rgb));
    pen.ellipse(0.0, 0.24, 0.22, 0.24, rgb);
    for (inner, outer, tip) in [(-0.05, -0.28, -0.25), (0.05, 0.28, 0.25)] {
        pen.polygon(&[(inner, -0.32), (tip, -0.50), (outer, -0.12)], rgb);
        pen.polygon(&[(inner * 2.0, -0.30), (tip * 0.92, -0.43), (outer * 0.86, -0.18)], [228, 150, 150]);
    }
    pen.ellipse(0.0, -0.13, 0.29, 0.23, rgb);
    for side in [-1.0, 1.0] {
        pen.ellipse(0.12 * side, -0.16, 0.055, 0.06, [150, 210, 90]);
        pen.ellipse(0.12 * side, -0.16, 0.022, 0.055, [16, 16, 16]);
        pen.line(&[(0.10 * side, -0.04), (0.37 * side, -0.08)], 0.016, line);
        pen.line(&[(0.10 * side, -0.02), (0.37 * side, 0.02)], 0.016, line);
        pen.ellipse(0.09 * side, 0.45, 0.08, 0.04, shade(rgb));
    }
    pen.polygon(&[(-0.035, -0.08), (0.035, -0.08), (0.0, -0.04)], [226, 110, 120]);
}

fn dog(pen: &mut Pen<'_>) {
    let (coat, dark): (Rgb, Rgb) = ([176, 120, 70], [108, 68, 38]);
    pen.line(&[(-0.32, -0.04), (-0.46, -0.26)], 0.07, coat);
    for (x, leg) in [(-0.19, shifted(coat, -24)), (0.10, shifted(coat, -24)), (-0.30, coat), (0.20, coat)] {
        pen.line(&[(x, 0.10), (x, 0.36)], 0.08, leg);
    }
    pen.ellipse(-0.04, 0.05, 0.33, 0.15, coat);
    pen.polygon(&[(0.08, 0.02), (0.16, -0.24), (0.34, -0.18), (0.27, 0.10)], coat);
    pen.ellipse(0.27, -0.21, 0.16, 0.14, coat);
    pen.ellipse(0.40, -0.15, 0.10, 0.075, shifted(coat, 22));
    pen.ellipse(0.475, -0.18, 0.03, 0.03, DARK);
    pen.ellipse(0.30, -0.25, 0.026, 0.03, DARK);
    pen.ellipse(0.16, -0.16, 0.065, 0.15, dark);
    pen.line(&[(0.10, -0.02), (0.25, 0.05)], 0.05, [206, 50, 50]);
}

fn fish(pen: &mut Pen<'_>, rgb: Rgb) {
    let fin = shade(rgb);
    pen.polygon(&[(-0.24, 0.0), (-0.52, -0.26), (-0.44, 0.0), (-0.52, 0.26)], fin);
    pen.polygon(&[(-0.10, -0.18), (0.08, -0.32), (0.18, -0.16)], fin);
    let mut body = PathBuilder::new();
    body.move_to(-0.34, 0.0);
    body.cubic_to(-0.14, -0.30, 0.34, -0.32, 0.50, 0.0);
    body.cubic_to(0.34, 0.32, -0.14, 0.30, -0.34, 0.0);
    body.close();
    pen.fill(body.finish(), rgb);
    pen.polygon(&[(0.06, 0.02), (-0.12, 0.13), (0.04, 0.15)], fin);
    pen.ellipse(0.32, -0.06, 0.055, 0.055, [250, 250, 250]);
    pen.ellipse(0.335, -0.06, 0.028, 0.028, [16, 16, 16]);
}

fn bird(pen: &mut Pen<'_>, rgb: Rgb) {
    let wing = shade(rgb);
    pen.polygon(&[(-0.22, 0.04), (-0.50, -0.04), (-0.48, 0.14)], wing);
    pen.ellipse(-0.01, 0.10, 0.28, 0.16, rgb);
    pen.polygon(&[(0.38, -0.10), (0.50, -0.03), (0.37, 0.02)], [250, 160, 30]);
    pen.ellipse(0.27, -0.04, 0.14, 0.14, rgb);
    pen.polygon(&[(0.12, 0.06), (-0.14, 0.10), (-0.30, -0.36), (-0.10, -0.30)], wing);
    pen.ellipse(0.31, -0.07, 0.03, 0.03, ink(rgb));
}
