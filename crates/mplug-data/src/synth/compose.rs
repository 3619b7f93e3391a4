//! Invents scenes: what there is, in which colour, where, so that every fact in a caption is plain to see.
//!
//! Our own design. Objects keep clear of each other and of the border, colours stand out from what is behind
//! them, and relations hold by a wide margin. This file refuses to know words and pixels.

use super::random::{Choices, Purpose};
use super::scene::{Background, Colour, Family, Kind, Object, Place, Relation, Rgb, Scene};

/// Least distance between an object's paint and what is behind it (Euclidean, 0 to 441).
const MIN_CONTRAST: f32 = 112.0;
/// As [`MIN_CONTRAST`], for flat shapes, which have no outline or detail to be known by.
const MIN_SHAPE_CONTRAST: f32 = 135.0;
/// As [`MIN_CONTRAST`], for trees: their trunk and form help, and green must be seen at night too.
const MIN_TREE_CONTRAST: f32 = 88.0;
/// Free space around an object, as a fraction of the shorter side.
const GAP: f32 = 0.03;
/// How often a layout is tried before a new scene is invented.
const LAYOUT_TRIES: usize = 60;

/// The scene of picture `index` under `seed`. Every index is independent of every other.
pub fn compose(seed: u64, index: u64) -> Scene {
    let mut choices = Choices::new(seed, index, Purpose::Scene);
    let family = match choices.below(100) {
        0..24 => Family::Counts,
        24..48 => Family::Relations,
        48..72 => Family::Places,
        72..86 => Family::Beside,
        _ => Family::Above,
    };
    let (width, height) = picture_size(&mut choices);
    loop {
        let invented = match family {
            Family::Counts => counts(&mut choices, width, height),
            Family::Relations => relations(&mut choices, width, height),
            Family::Places => places(&mut choices, width, height),
            Family::Beside => beside(&mut choices, width, height),
            Family::Above => above(&mut choices, width, height),
        };
        if let Some(scene) = invented {
            return scene;
        }
    }
}

/// Width and height, 128 to 256 pixels, from 3:4 to 4:3.
fn picture_size(choices: &mut Choices) -> (u32, u32) {
    let longer = 172 + choices.below(85) as u32;
    let shorter = longer * (76 + choices.below(25) as u32) / 100;
    if choices.chance(50) { (longer, shorter) } else { (shorter, longer) }
}

/// A kind and its colour, if it has one that captions name.
type Dressed = (Kind, Option<Colour>);

fn counts(choices: &mut Choices, width: u32, height: u32) -> Option<Scene> {
    let kind = choices.pick(&Kind::SHAPES);
    let colour = choices.pick(&Colour::ALL);
    let background = backdrop(choices, &[colour])?;
    let count = 1 + choices.below(4);
    let (low, high) = [(0.34, 0.62), (0.31, 0.42), (0.30, 0.36), (0.26, 0.32)][count - 1];
    let size = choices.between(low, high);
    let canvas = Canvas::whole(width, height);
    let objects = canvas.scatter(choices, count, |choices| {
        let size = size * choices.between(0.95, 1.05);
        let mut object = object(choices, kind, Some(colour), size);
        object.rotation = choices.between(-shape_tilt(kind), shape_tilt(kind));
        object
    })?;
    Some(Scene { family: Family::Counts, width, height, background, objects, relation: None })
}

fn relations(choices: &mut Choices, width: u32, height: u32) -> Option<Scene> {
    let first = (choices.pick(&Kind::SHAPES), choices.pick(&Colour::ALL));
    let second = (choices.pick(&Kind::SHAPES), choices.pick(&Colour::ALL));
    if first == second {
        return None;
    }
    let background = backdrop(choices, &[first.1, second.1])?;
    let relation = choices.pick(&[Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below]);
    let canvas = Canvas::whole(width, height);
    let mut turn = 0;
    let objects = canvas.scatter(choices, 2, |choices| {
        let (kind, colour) = if turn % 2 == 0 { first } else { second };
        turn += 1;
        let size = choices.between(0.31, 0.42);
        let mut object = object(choices, kind, Some(colour), size);
        object.rotation = choices.between(-shape_tilt(kind), shape_tilt(kind));
        object
    })?;
    let scene =
        Scene { family: Family::Relations, width, height, background, objects, relation: Some(relation) };
    let (dx, dy) = offset(&scene.objects);
    let (along, across) = match relation {
        Relation::LeftOf | Relation::RightOf => (dx.abs(), dy.abs()),
        _ => (dy.abs(), dx.abs()),
    };
    (along > 0.32 && across < 0.45 * along && scene.holds(0, relation, 1)).then_some(scene)
}

fn places(choices: &mut Choices, width: u32, height: u32) -> Option<Scene> {
    // The kind before the place, so that flowers are as frequent as cats.
    let kind = choices.pick(&[
        Kind::House,
        Kind::Tree,
        Kind::Boat,
        Kind::Person,
        Kind::Car,
        Kind::Flower,
        Kind::Cat,
        Kind::Dog,
        Kind::Fish,
        Kind::Fish,
    ]);
    let place = home(choices, kind);
    let background = place_background(choices, place);
    let (kind, colour) = dressed(choices, kind, place)?;
    let count = choices.pick(&[1, 1, 2, 2, 3]);
    let (low, high) = [(0.40, 0.62), (0.34, 0.44), (0.30, 0.36)][count - 1];
    let narrow = if matches!(kind, Kind::Person | Kind::Flower) { 1.2 } else { 1.0 };
    let size = choices.between(low, high) * narrow;
    let canvas = Canvas::of_ground(width, height, background, kind);
    let objects = canvas.scatter(choices, count, |choices| {
        let size = size * choices.between(0.94, 1.06);
        object(choices, kind, colour, size)
    })?;
    Some(Scene { family: Family::Places, width, height, background, objects, relation: None })
}

fn beside(choices: &mut Choices, width: u32, height: u32) -> Option<Scene> {
    let first =
        choices.pick(&[Kind::House, Kind::Tree, Kind::Person, Kind::Car, Kind::Flower, Kind::Cat, Kind::Dog]);
    let place = home(choices, first);
    let second = choices.pick(inhabitants(place));
    if first == second {
        return None;
    }
    let background = place_background(choices, place);
    let first = dressed(choices, first, place)?;
    let second = dressed(choices, second, place)?;
    let canvas = Canvas::of_ground(width, height, background, Kind::House);
    let mut turn = 0;
    let objects = canvas.scatter(choices, 2, |choices| {
        let (kind, colour) = if turn % 2 == 0 { first } else { second };
        turn += 1;
        let size = choices.between(ground_size(kind).0, ground_size(kind).1);
        object(choices, kind, colour, size)
    })?;
    let (dx, dy) = offset(&objects);
    if dx.abs() < 0.30 || dy.abs() > 0.4 * dx.abs() {
        return None;
    }
    let relation = Some(Relation::Beside);
    Some(Scene { family: Family::Beside, width, height, background, objects, relation })
}

fn above(choices: &mut Choices, width: u32, height: u32) -> Option<Scene> {
    let lower = choices.pick(&[
        Kind::House,
        Kind::Tree,
        Kind::Boat,
        Kind::Boat,
        Kind::Person,
        Kind::Car,
        Kind::Flower,
        Kind::Cat,
        Kind::Dog,
    ]);
    let place = if lower != Kind::Boat && choices.chance(30) { Place::Night } else { home(choices, lower) };
    let upper = choices.pick(if place == Place::Night {
        &[Kind::Moon, Kind::Moon, Kind::Bird]
    } else {
        &[Kind::Sun, Kind::Bird, Kind::Bird]
    });
    let background = place_background(choices, place);
    let upper = dressed(choices, upper, place)?;
    let lower = dressed(choices, lower, place)?;
    let count = if upper.0 == Kind::Bird { choices.pick(&[1, 1, 2]) } else { 1 };
    let sky_size = choices.between(0.30, 0.37);
    let sky = Canvas { bottom: 0.42, ..Canvas::whole(width, height) };
    let mut objects = sky.scatter(choices, count, |choices| object(choices, upper.0, upper.1, sky_size))?;
    let ground = Canvas::of_ground(width, height, background, lower.0);
    let below = ground.scatter(choices, 1, |choices| {
        let size = choices.between(ground_size(lower.0).0, ground_size(lower.0).1) * 1.05;
        object(choices, lower.0, lower.1, size)
    })?;
    objects.extend(below);
    let relation = Some(Relation::Above);
    let scene = Scene { family: Family::Above, width, height, background, objects, relation };
    let groups = scene.groups();
    let dx = groups[0].centre.0 - groups[1].centre.0;
    let dy = groups[1].centre.1 - groups[0].centre.1;
    let clear = canvas_gap(&scene, count);
    (dy > 0.32 && dx.abs() < 0.55 * dy && clear).then_some(scene)
}

/// Whether every sky object ends above the top of the ground object (the last one).
fn canvas_gap(scene: &Scene, count: usize) -> bool {
    let shorter = scene.width.min(scene.height) as f32;
    let half = |o: &Object| o.kind.half_extent().1 * o.size * shorter / scene.height as f32;
    let lower = &scene.objects[count];
    scene.objects[..count].iter().all(|o| o.y + half(o) + 0.01 < lower.y - half(lower))
}

/// From the second object to the first, in fractions of width and height.
fn offset(objects: &[Object]) -> (f32, f32) {
    (objects[0].x - objects[1].x, objects[0].y - objects[1].y)
}

/// An upright object at no place yet.
fn object(choices: &mut Choices, kind: Kind, colour: Option<Colour>, size: f32) -> Object {
    let rotation = match kind {
        Kind::Sun => choices.between(0.0, 30.0),
        Kind::Fish | Kind::Bird | Kind::Boat | Kind::Moon => choices.between(-10.0, 10.0),
        Kind::Flower | Kind::Tree => choices.between(-4.0, 4.0),
        _ => choices.between(-2.0, 2.0),
    };
    Object { kind, colour, x: 0.5, y: 0.5, size, rotation, mirrored: choices.chance(50) }
}

/// A square turned far is a diamond, so squares and diamonds turn least.
fn shape_tilt(kind: Kind) -> f32 {
    match kind {
        Kind::Square | Kind::Diamond => 8.0,
        _ => 15.0,
    }
}

/// What may stand (or float) in a place.
pub(super) fn inhabitants(place: Place) -> &'static [Kind] {
    use Kind::{Boat, Car, Cat, Dog, Fish, Flower, House, Person, Tree};
    match place {
        Place::Grass => &[House, Tree, Person, Flower, Cat, Dog, Car],
        Place::Sea => &[Boat],
        Place::Water => &[Fish],
        Place::Snow => &[House, Tree, Person, Dog, Cat],
        Place::Night => &[House, Tree, Car, Cat, Person],
        Place::Beach => &[Person, Dog, Cat, Car, House],
        Place::Street => &[Car, Person, Dog, Cat, Tree],
    }
}

/// A place where `kind` may be.
fn home(choices: &mut Choices, kind: Kind) -> Place {
    let homes: Vec<Place> = Place::ALL.into_iter().filter(|p| inhabitants(*p).contains(&kind)).collect();
    choices.pick(&homes)
}

/// Least and greatest size of a single ground object in a scene of two.
fn ground_size(kind: Kind) -> (f32, f32) {
    match kind {
        Kind::House | Kind::Tree | Kind::Boat => (0.40, 0.50),
        Kind::Car => (0.38, 0.46),
        // Narrow ones are taller.
        Kind::Person | Kind::Flower => (0.42, 0.52),
        _ => (0.34, 0.44),
    }
}

/// Kinds that fly.
pub(super) fn is_in_sky(kind: Kind) -> bool {
    matches!(kind, Kind::Sun | Kind::Moon | Kind::Bird)
}

/// A plain, graded or noisy background against which all `colours` stand out; `None` if none is found.
fn backdrop(choices: &mut Choices, colours: &[Colour]) -> Option<Background> {
    let visible = |rgb: Rgb| colours.iter().all(|c| distance(c.rgb(), rgb) > MIN_SHAPE_CONTRAST);
    let mut tint = || {
        for _ in 0..200 {
            // Muted tints: grey of any brightness with a little hue, so that no background passes for a colour word.
            let grey = choices.between(60.0, 232.0);
            let rgb = [0; 3].map(|_: u8| (grey + choices.between(-22.0, 22.0)).clamp(0.0, 255.0) as u8);
            if visible(rgb) {
                return Some(rgb);
            }
        }
        None
    };
    let (first, second) = (tint()?, tint()?);
    Some(match choices.below(3) {
        0 => Background::Plain { rgb: first },
        1 if visible(midpoint(first, second)) => Background::Gradient { top: first, bottom: second },
        _ => Background::Noise { rgb: first, amplitude: 8 + choices.below(14) as u8 },
    })
}

fn place_background(choices: &mut Choices, place: Place) -> Background {
    Background::Place { place, horizon: choices.between(0.42, 0.56) }
}

/// What an object of `kind` is to be here, in a colour that stands out; `None` where none of its colours does.
fn dressed(choices: &mut Choices, kind: Kind, place: Place) -> Option<Dressed> {
    if kind.colours().is_empty() {
        return Some((kind, None));
    }
    let visible = visible_colours(kind, place);
    (!visible.is_empty()).then(|| (kind, Some(choices.pick(&visible))))
}

/// The colours of `kind` that stand out from what is behind it here, each as often as the kind has it.
pub(super) fn visible_colours(kind: Kind, place: Place) -> Vec<Colour> {
    let (sky, ground) = place.paints();
    let behind: &[Rgb] = match kind {
        _ if is_in_sky(kind) => &[sky],
        // Crowns of trees stand before the sky, the sides of boats and houses before both.
        Kind::Fish | Kind::Boat | Kind::House | Kind::Tree => &[sky, ground],
        _ => &[ground],
    };
    let contrast = if kind == Kind::Tree { MIN_TREE_CONTRAST } else { MIN_CONTRAST };
    let stands_out = |c: &Colour| behind.iter().all(|rgb| distance(c.rgb(), *rgb) > contrast);
    kind.colours().iter().copied().filter(stands_out).collect()
}

fn distance(a: Rgb, b: Rgb) -> f32 {
    let square: f32 = a.iter().zip(b).map(|(a, b)| (f32::from(*a) - f32::from(b)).powi(2)).sum();
    square.sqrt()
}

fn midpoint(a: Rgb, b: Rgb) -> Rgb {
    [0, 1, 2].map(|i| u8::midpoint(a[i], b[i]))
}

/// The part of the picture where objects may be, in fractions; `ground_top` is where feet may begin.
struct Canvas {
    width: f32,
    height: f32,
    top: f32,
    bottom: f32,
    ground_top: Option<f32>,
}

impl Canvas {
    fn whole(width: u32, height: u32) -> Self {
        Self { width: width as f32, height: height as f32, top: 0.02, bottom: 0.98, ground_top: None }
    }

    /// Where objects of `kind` may be in this place: feet on the ground, or anywhere for swimmers.
    fn of_ground(width: u32, height: u32, background: Background, kind: Kind) -> Self {
        let whole = Self::whole(width, height);
        match background {
            Background::Place { horizon, .. } if kind != Kind::Fish => {
                Self { ground_top: Some(horizon + 0.12), ..whole }
            }
            _ => whole,
        }
    }

    /// Places `count` objects that `make` gives, none touching another; `None` if that does not work out.
    fn scatter(
        &self,
        choices: &mut Choices,
        count: usize,
        mut make: impl FnMut(&mut Choices) -> Object,
    ) -> Option<Vec<Object>> {
        for _ in 0..LAYOUT_TRIES {
            let mut placed: Vec<Object> = Vec::with_capacity(count);
            for _ in 0..count {
                let candidate = make(choices);
                if let Some(object) = self.place(choices, candidate) {
                    placed.push(object);
                }
            }
            let apart = (0..placed.len()).all(|i| (0..i).all(|j| self.apart(&placed[i], &placed[j])));
            if placed.len() == count && apart {
                return Some(placed);
            }
        }
        None
    }

    /// Gives the object a random position inside the canvas.
    fn place(&self, choices: &mut Choices, mut object: Object) -> Option<Object> {
        let (half_width, half_height) = self.half_box(&object);
        let (left, right) = (half_width + 0.02, 0.98 - half_width);
        let (mut top, bottom) = (self.top + half_height, self.bottom - half_height);
        if let Some(ground_top) = self.ground_top {
            top = top.max(ground_top - half_height);
        }
        if left > right || top > bottom {
            return None;
        }
        object.x = choices.between(left, right);
        object.y = choices.between(top, bottom);
        Some(object)
    }

    /// Half width and height of the object's box, as fractions of the picture.
    fn half_box(&self, object: &Object) -> (f32, f32) {
        object.half_box(self.width, self.height)
    }

    fn apart(&self, a: &Object, b: &Object) -> bool {
        let ((aw, ah), (bw, bh)) = (self.half_box(a), self.half_box(b));
        (a.x - b.x).abs() > aw + bw + GAP || (a.y - b.y).abs() > ah + bh + GAP
    }
}
