//! Turns a scene into pixels: background, faint clutter, objects, a little sensor noise.
//!
//! Vector drawing with tiny-skia, anti-aliased, at any size: a scene can be drawn straight at the size that a
//! model reads (stretched to it as the model's own resize would). This file refuses to know words.

use image::RgbImage;
use tiny_skia::{FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Shader, Stroke, Transform};

use super::caption::{captions_en, captions_zh};
use super::compose::compose;
use super::objects::draw_object;
use super::random::{Choices, Purpose};
use super::scene::{Background, Place, Rgb, Scene};

/// A drawn picture, what is in it, and captions that are true of it.
#[derive(Debug, Clone)]
pub struct SynthExample {
    /// The picture.
    pub image: RgbImage,
    /// What it shows.
    pub scene: Scene,
    /// Chinese captions, joined (no spaces).
    pub captions_zh: Vec<String>,
    /// English captions, lower case.
    pub captions_en: Vec<String>,
}

/// Draws picture `index` under `seed` at its natural size, 128 to 256 pixels a side. The same arguments give the
/// same picture, and every index is independent of every other.
pub fn draw(seed: u64, index: u64) -> SynthExample {
    let scene = compose(seed, index);
    let (width, height) = (scene.width, scene.height);
    example(seed, index, scene, width, height)
}

/// As [`draw`], but rendered straight at `width` x `height` pixels, stretched: the same scene and captions. Sizes are
/// held to 1..=4096.
pub fn draw_at(seed: u64, index: u64, width: u32, height: u32) -> SynthExample {
    example(seed, index, compose(seed, index), width, height)
}

fn example(seed: u64, index: u64, scene: Scene, width: u32, height: u32) -> SynthExample {
    let image = render(&scene, seed, index, width, height);
    let (captions_zh, captions_en) = (captions_zh(&scene), captions_en(&scene));
    SynthExample { image, scene, captions_zh, captions_en }
}

/// Renders a scene at `width` x `height` pixels (held to 1..=4096), stretched where the shape differs from the
/// scene's own. `seed` and `index` choose clutter and noise.
pub fn render(scene: &Scene, seed: u64, index: u64, width: u32, height: u32) -> RgbImage {
    let (width, height) = (width.clamp(1, 4096), height.clamp(1, 4096));
    let mut choices = Choices::new(seed, index, Purpose::Pixels);
    let mut canvas = Canvas::new(width, height, scene.width as f32, scene.height as f32);
    let amplitude = draw_background(&mut canvas, &mut choices, scene);
    if amplitude > 0 {
        add_noise(canvas.pixmap.data_mut(), &mut choices, amplitude);
    }
    let shorter = scene.width.min(scene.height) as f32;
    for object in &scene.objects {
        let side = object.size * shorter;
        let (x, y) = (object.x * scene.width as f32, object.y * scene.height as f32);
        let flip = if object.mirrored { -1.0 } else { 1.0 };
        let local = Transform::from_scale(side * flip, side)
            .post_concat(Transform::from_rotate(object.rotation))
            .post_translate(x, y);
        let jitter = [0; 3].map(|_: i16| choices.below(17) as i16 - 8);
        draw_object(&mut canvas.pen(local), object, jitter, choices.bits());
    }
    let sensor = choices.pick(&[0, 0, 3, 6, 9]);
    if sensor > 0 {
        add_noise(canvas.pixmap.data_mut(), &mut choices, sensor);
    }
    canvas.into_image()
}

/// Moves every channel by up to `amplitude` either way.
fn add_noise(pixels: &mut [u8], choices: &mut Choices, amplitude: u8) {
    let span = u32::from(amplitude) * 2 + 1;
    for pixel in pixels.chunks_exact_mut(4) {
        let bits = choices.bits();
        for (channel, value) in pixel[..3].iter_mut().enumerate() {
            let byte = (bits >> (8 * channel)) & 0xff;
            let moved = i32::from(*value) + ((byte * span) >> 8) as i32 - i32::from(amplitude);
            *value = moved.clamp(0, 255) as u8;
        }
    }
}

/// Paints what is behind; returns the noise that the background wants.
fn draw_background(canvas: &mut Canvas, choices: &mut Choices, scene: &Scene) -> u8 {
    let (width, height) = (canvas.width, canvas.height);
    let mut pen = canvas.pen(Transform::from_scale(width, height));
    let (tint, amplitude) = match scene.background {
        Background::Plain { rgb } => {
            pen.gradient(0.0, 1.0, rgb, rgb);
            (rgb, 0)
        }
        Background::Noise { rgb, amplitude } => {
            pen.gradient(0.0, 1.0, rgb, rgb);
            (rgb, amplitude)
        }
        Background::Gradient { top, bottom } => {
            pen.gradient(0.0, 1.0, top, bottom);
            (midpoint(top, bottom), 0)
        }
        Background::Place { place, horizon } => {
            draw_place(&mut pen, choices, place, horizon);
            return choices.pick(&[0, 3, 6]);
        }
    };
    if choices.chance(50) {
        draw_clutter(&mut pen, choices, tint);
    }
    amplitude
}

/// A few small specks and hair lines, hardly darker or lighter than what is behind: never an object.
fn draw_clutter(pen: &mut Pen<'_>, choices: &mut Choices, tint: Rgb) {
    for _ in 0..choices.below(14) {
        let shade = shifted(tint, choices.pick(&[-20, -14, 14, 20]));
        let (x, y) = (choices.between(0.0, 1.0), choices.between(0.0, 1.0));
        if choices.chance(60) {
            let radius = choices.between(0.006, 0.014);
            pen.ellipse(x, y, radius, radius, shade);
        } else {
            let (dx, dy) = (choices.between(-0.07, 0.07), choices.between(-0.07, 0.07));
            pen.line(&[(x, y), (x + dx, y + dy)], 0.007, shade);
        }
    }
}

/// Sky and ground of a place, with its small signs (blades, waves, flakes, stars, bubbles).
fn draw_place(pen: &mut Pen<'_>, choices: &mut Choices, place: Place, horizon: f32) {
    let (sky, ground) = place.paints();
    if place == Place::Water {
        pen.gradient(0.0, 1.0, sky, ground);
        return draw_bubbles(pen, choices);
    }
    let lift = if place == Place::Night { 10 } else { 12 };
    pen.gradient(0.0, horizon, shifted(sky, -lift), shifted(sky, lift));
    pen.gradient(horizon, 1.0, ground, ground);
    match place {
        Place::Grass => draw_marks(pen, choices, horizon, shifted(ground, -26), Mark::Blade),
        Place::Sea => {
            draw_marks(pen, choices, horizon, shifted(ground, 30), Mark::Wave);
            draw_marks(pen, choices, horizon, shifted(ground, -22), Mark::Wave);
        }
        Place::Snow => {
            draw_marks(pen, choices, horizon, shifted(ground, -14), Mark::Wave);
            draw_flakes(pen, choices, [246, 249, 253], 40);
        }
        Place::Night => draw_flakes(pen, choices, [206, 208, 226], 22),
        Place::Beach => {
            let water = Place::Sea.paints().1;
            pen.rect(0.0, horizon - 0.07, 1.0, 0.07, water);
            draw_marks(pen, choices, horizon, shifted(ground, -24), Mark::Speck);
        }
        Place::Street => draw_street(pen, horizon, ground),
        Place::Water => {}
    }
}

#[derive(Clone, Copy)]
enum Mark {
    Blade,
    Wave,
    Speck,
}

fn draw_marks(pen: &mut Pen<'_>, choices: &mut Choices, horizon: f32, shade: Rgb, mark: Mark) {
    for _ in 0..16 {
        let (x, y) = (choices.between(0.0, 1.0), choices.between(horizon + 0.02, 1.0));
        match mark {
            Mark::Blade => pen.line(&[(x - 0.008, y - 0.022), (x, y), (x + 0.008, y - 0.022)], 0.007, shade),
            Mark::Wave => pen.line(
                &[(x - 0.05, y), (x - 0.025, y - 0.012), (x, y), (x + 0.025, y - 0.012), (x + 0.05, y)],
                0.009,
                shade,
            ),
            Mark::Speck => pen.ellipse(x, y, 0.006, 0.006, shade),
        }
    }
}

/// Snow flakes and far stars: dots too small to be anything else.
fn draw_flakes(pen: &mut Pen<'_>, choices: &mut Choices, rgb: Rgb, count: usize) {
    for _ in 0..count {
        let (x, y) = (choices.between(0.0, 1.0), choices.between(0.0, 0.42));
        let radius = choices.between(0.003, 0.007);
        pen.ellipse(x, y, radius, radius, rgb);
    }
}

fn draw_bubbles(pen: &mut Pen<'_>, choices: &mut Choices) {
    for _ in 0..7 {
        let (x, y) = (choices.between(0.0, 1.0), choices.between(0.0, 1.0));
        let radius = choices.between(0.008, 0.016);
        pen.ring(x, y, radius, 0.006, [150, 208, 222]);
    }
    for _ in 0..6 {
        let x = choices.between(0.0, 1.0);
        let top = choices.between(0.86, 0.94);
        pen.line(&[(x, 1.0), (x + 0.012, top + 0.04), (x - 0.006, top)], 0.014, [44, 118, 132]);
    }
}

fn draw_street(pen: &mut Pen<'_>, horizon: f32, ground: Rgb) {
    pen.rect(0.0, horizon, 1.0, 0.035, shifted(ground, 34));
    pen.rect(0.0, horizon + 0.035, 1.0, 0.012, shifted(ground, -36));
    let lane = f32::midpoint(horizon, 1.0) + 0.12;
    for dash in 0..5 {
        pen.rect(0.04 + 0.2 * dash as f32, lane, 0.11, 0.018, shifted(ground, 60));
    }
}

/// A colour made lighter or darker.
pub(super) fn shifted(rgb: Rgb, by: i16) -> Rgb {
    rgb.map(|v| (i16::from(v) + by).clamp(0, 255) as u8)
}

fn midpoint(a: Rgb, b: Rgb) -> Rgb {
    [0, 1, 2].map(|i| u8::midpoint(a[i], b[i]))
}

/// The pixels, and the map from the scene's natural pixels to them.
struct Canvas {
    pixmap: Pixmap,
    stretch: Transform,
    width: f32,
    height: f32,
}

impl Canvas {
    fn new(pixel_width: u32, pixel_height: u32, width: f32, height: f32) -> Self {
        let pixmap = Pixmap::new(pixel_width, pixel_height).expect("sides are held to 1..=4096");
        let stretch = Transform::from_scale(pixel_width as f32 / width, pixel_height as f32 / height);
        Self { pixmap, stretch, width, height }
    }

    /// A pen whose coordinates go through `local` to the scene's natural pixels.
    fn pen(&mut self, local: Transform) -> Pen<'_> {
        Pen { transform: local.post_concat(self.stretch), pixmap: &mut self.pixmap }
    }

    fn into_image(self) -> RgbImage {
        let (width, height) = (self.pixmap.width(), self.pixmap.height());
        let rgb = self.pixmap.data().chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
        RgbImage::from_raw(width, height, rgb).expect("three bytes for every pixel")
    }
}

/// Draws simple things in local coordinates: x to the right, y down.
pub(super) struct Pen<'a> {
    pixmap: &'a mut Pixmap,
    transform: Transform,
}

impl Pen<'_> {
    /// Fills a closed outline.
    pub(super) fn fill(&mut self, path: Option<Path>, rgb: Rgb) {
        if let Some(path) = path {
            self.pixmap.fill_path(&path, &paint(rgb), FillRule::Winding, self.transform, None);
        }
    }

    pub(super) fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, rgb: Rgb) {
        self.fill(Rect::from_xywh(x, y, width, height).map(PathBuilder::from_rect), rgb);
    }

    pub(super) fn ellipse(&mut self, x: f32, y: f32, radius_x: f32, radius_y: f32, rgb: Rgb) {
        let bounds = Rect::from_ltrb(x - radius_x, y - radius_y, x + radius_x, y + radius_y);
        self.fill(bounds.and_then(PathBuilder::from_oval), rgb);
    }

    pub(super) fn polygon(&mut self, points: &[(f32, f32)], rgb: Rgb) {
        let mut builder = PathBuilder::new();
        for (i, &(x, y)) in points.iter().enumerate() {
            if i == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
        }
        builder.close();
        self.fill(builder.finish(), rgb);
    }

    /// A line through the points, with round ends.
    pub(super) fn line(&mut self, points: &[(f32, f32)], width: f32, rgb: Rgb) {
        let mut builder = PathBuilder::new();
        for (i, &(x, y)) in points.iter().enumerate() {
            if i == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
        }
        self.stroke(builder.finish(), width, rgb);
    }

    /// The outline of a circle.
    pub(super) fn ring(&mut self, x: f32, y: f32, radius: f32, width: f32, rgb: Rgb) {
        self.stroke(PathBuilder::from_circle(x, y, radius), width, rgb);
    }

    pub(super) fn stroke(&mut self, path: Option<Path>, width: f32, rgb: Rgb) {
        let stroke = Stroke { width, line_cap: LineCap::Round, ..Stroke::default() };
        if let Some(path) = path {
            self.pixmap.stroke_path(&path, &paint(rgb), &stroke, self.transform, None);
        }
    }

    /// Paints all rows from fraction `y0` of the picture's height to `y1`, from one colour to another.
    fn gradient(&mut self, y0: f32, y1: f32, top: Rgb, bottom: Rgb) {
        let (width, height) = (self.pixmap.width() as usize, self.pixmap.height() as f32);
        let rows = self.pixmap.data_mut().chunks_exact_mut(4 * width);
        for (y, row) in rows.enumerate() {
            let t = ((y as f32 + 0.5) / height - y0) / (y1 - y0);
            if (0.0..=1.0).contains(&t) {
                let [r, g, b] =
                    [0, 1, 2].map(|i| (f32::from(top[i]) * (1.0 - t) + f32::from(bottom[i]) * t + 0.5) as u8);
                row.chunks_exact_mut(4).for_each(|pixel| pixel.copy_from_slice(&[r, g, b, 255]));
            }
        }
    }
}

fn paint(rgb: Rgb) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.shader = Shader::SolidColor(tiny_skia::Color::from_rgba8(rgb[0], rgb[1], rgb[2], 255));
    paint
}
