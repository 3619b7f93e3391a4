//! What a drawn picture shows, as types: the truth that captions are written from and judged against.
//!
//! Our own design. This file refuses to know how things are drawn, placed or worded.

use serde::{Deserialize, Serialize};

/// Red, green, blue, 0 to 255.
pub type Rgb = [u8; 3];

/// The kind of scene, by what its captions must get right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// One to four equal shapes.
    Counts,
    /// Two shapes, one left of, right of, above or below the other.
    Relations,
    /// One to three equal objects in a place (grass, sea, snow …).
    Places,
    /// Two objects beside each other on the ground.
    Beside,
    /// Something in the sky above something on the ground.
    Above,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::Counts, Self::Relations, Self::Places, Self::Beside, Self::Above];
}

/// A named colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Colour {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    White,
    Black,
}

impl Colour {
    /// Every colour.
    pub const ALL: [Self; 8] = [
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::White,
        Self::Black,
    ];

    /// The paint.
    pub fn rgb(self) -> Rgb {
        match self {
            Self::Red => [218, 32, 38],
            Self::Orange => [248, 138, 16],
            Self::Yellow => [252, 222, 36],
            Self::Green => [28, 142, 62],
            Self::Blue => [36, 84, 220],
            Self::Purple => [138, 50, 176],
            Self::White => [252, 252, 252],
            Self::Black => [22, 22, 26],
        }
    }
}

/// A kind of thing: six flat shapes, twelve simple objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Circle,
    Square,
    Triangle,
    Star,
    Heart,
    Diamond,
    House,
    Tree,
    Sun,
    Moon,
    Boat,
    Person,
    Car,
    Flower,
    Cat,
    Dog,
    Fish,
    Bird,
}

impl Kind {
    /// The flat shapes.
    pub const SHAPES: [Self; 6] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Star, Self::Heart, Self::Diamond];
    /// The drawn objects.
    pub const OBJECTS: [Self; 12] = [
        Self::House,
        Self::Tree,
        Self::Sun,
        Self::Moon,
        Self::Boat,
        Self::Person,
        Self::Car,
        Self::Flower,
        Self::Cat,
        Self::Dog,
        Self::Fish,
        Self::Bird,
    ];

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::SHAPES.into_iter().chain(Self::OBJECTS)
    }

    /// Whether this is one of the flat shapes.
    pub fn is_shape(self) -> bool {
        Self::SHAPES.contains(&self)
    }

    /// The colours that this kind is drawn in and named with; empty where captions do not name a colour.
    pub fn colours(self) -> &'static [Colour] {
        use Colour::{Black, Blue, Green, Orange, Purple, Red, White, Yellow};
        match self {
            Self::House => &[Red, Yellow, Blue, White, Purple, Orange],
            Self::Tree => &[Green, Green, Orange],
            Self::Boat => &[Red, Orange, Yellow, Blue, Green, White, Black],
            Self::Car => &[Red, Yellow, Blue, Green, White, Black],
            Self::Flower => &[Red, Orange, Yellow, Blue, Purple, White],
            Self::Cat => &[White, Black, Orange],
            Self::Fish => &[Red, Orange, Yellow, Purple, White, Black],
            Self::Bird => &[Red, Yellow, Blue, White, Black],
            Self::Sun | Self::Moon | Self::Person | Self::Dog => &[],
            _ => &Colour::ALL,
        }
    }

    /// For a kind whose colour goes without saying: the colours that a caption may name without being wrong.
    pub fn usual_colours(self) -> &'static [Colour] {
        match self {
            Self::Sun => &[Colour::Orange, Colour::Yellow],
            Self::Moon => &[Colour::Yellow, Colour::White],
            _ => &[],
        }
    }

    /// Half width and half height of what is drawn, in units of [`Object::size`].
    pub fn half_extent(self) -> (f32, f32) {
        match self {
            Self::Heart => (0.48, 0.44),
            Self::Diamond => (0.40, 0.50),
            Self::House => (0.48, 0.48),
            Self::Tree => (0.36, 0.50),
            Self::Boat => (0.50, 0.46),
            Self::Person => (0.26, 0.50),
            Self::Car => (0.52, 0.30),
            Self::Flower => (0.34, 0.50),
            Self::Cat => (0.40, 0.48),
            Self::Dog => (0.50, 0.40),
            Self::Fish => (0.52, 0.32),
            Self::Bird => (0.50, 0.36),
            Self::Circle | Self::Square | Self::Triangle | Self::Star | Self::Sun | Self::Moon => {
                (0.47, 0.47)
            }
        }
    }
}

/// Where an object scene plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Place {
    Grass,
    Sea,
    Water,
    Snow,
    Night,
    Beach,
    Street,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 7] =
        [Self::Grass, Self::Sea, Self::Water, Self::Snow, Self::Night, Self::Beach, Self::Street];

    /// The paint of sky and ground (under water both are water).
    pub fn paints(self) -> (Rgb, Rgb) {
        match self {
            Self::Grass => ([176, 218, 244], [158, 212, 104]),
            Self::Sea => ([206, 230, 246], [104, 186, 206]),
            Self::Water => ([92, 178, 204], [52, 132, 172]),
            Self::Snow => ([158, 184, 214], [238, 243, 249]),
            Self::Night => ([26, 30, 74], [62, 58, 76]),
            Self::Beach => ([170, 216, 242], [238, 214, 158]),
            Self::Street => ([204, 212, 224], [158, 158, 164]),
        }
    }
}

/// How one thing stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Relation {
    LeftOf,
    RightOf,
    Above,
    Below,
    Beside,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Self; 5] = [Self::LeftOf, Self::RightOf, Self::Above, Self::Below, Self::Beside];

    /// The relation as it is said from the other thing's side.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
            Self::Beside => Self::Beside,
        }
    }
}

/// What is behind the objects.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Background {
    /// One colour.
    Plain { rgb: Rgb },
    /// From the top's colour to the bottom's.
    Gradient { top: Rgb, bottom: Rgb },
    /// One colour with every pixel moved by up to `amplitude`.
    Noise { rgb: Rgb, amplitude: u8 },
    /// A place; `horizon` is the fraction of the height where the ground begins.
    Place { place: Place, horizon: f32 },
}

/// One thing in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its colour, where the kind has one that captions name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub colour: Option<Colour>,
    /// Centre, fraction of the picture's width from the left.
    pub x: f32,
    /// Centre, fraction of the picture's height from the top.
    pub y: f32,
    /// Side of its box, fraction of the picture's shorter side.
    pub size: f32,
    /// Clockwise rotation in degrees.
    pub rotation: f32,
    /// Drawn mirrored (a car that drives left).
    pub mirrored: bool,
}

impl Object {
    /// Half width and half height of its box in a picture of `width` x `height` pixels, rotation allowed for, as fractions of the
    /// picture's width and height.
    pub fn half_box(&self, width: f32, height: f32) -> (f32, f32) {
        let (half_width, half_height) = self.kind.half_extent();
        let tilt = self.rotation.abs().min(45.0).to_radians();
        let pixels = self.size * width.min(height);
        let across = half_width * tilt.cos() + half_height * tilt.sin();
        let along = half_height * tilt.cos() + half_width * tilt.sin();
        // A disc and rays do not grow when they turn.
        let round = matches!(self.kind, Kind::Circle | Kind::Sun | Kind::Star);
        let (across, along) = if round { (half_width, half_height) } else { (across, along) };
        (across * pixels / width, along * pixels / height)
    }
}

/// Equal objects taken together: what one noun phrase speaks of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// What they are.
    pub kind: Kind,
    /// Their colour, where captions name one.
    pub colour: Option<Colour>,
    /// How many.
    pub count: usize,
    /// Mean centre, fractions of width and height.
    pub centre: (f32, f32),
}

/// A whole picture, before drawing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// The kind of scene.
    pub family: Family,
    /// Natural width in pixels.
    pub width: u32,
    /// Natural height in pixels.
    pub height: u32,
    /// What is behind the objects.
    pub background: Background,
    /// The objects, drawn in this order. Equal ones form one group.
    pub objects: Vec<Object>,
    /// How the first group stands to the second, where there are two.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub relation: Option<Relation>,
}

impl Scene {
    /// The groups of equal objects, in order of first appearance.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for object in &self.objects {
            let same = |g: &&mut Group| g.kind == object.kind && g.colour == object.colour;
            if let Some(group) = groups.iter_mut().find(same) {
                group.count += 1;
                group.centre.0 += object.x;
                group.centre.1 += object.y;
            } else {
                let centre = (object.x, object.y);
                groups.push(Group { kind: object.kind, colour: object.colour, count: 1, centre });
            }
        }
        for group in &mut groups {
            group.centre.0 /= group.count as f32;
            group.centre.1 /= group.count as f32;
        }
        groups
    }

    /// Where the scene plays, if it plays anywhere.
    pub fn place(&self) -> Option<Place> {
        match self.background {
            Background::Place { place, .. } => Some(place),
            _ => None,
        }
    }

    /// Whether group `a` stands in `relation` to group `b`, by their positions: the distance must lie clearly along
    /// the relation's axis. False where either group does not exist.
    pub fn holds(&self, a: usize, relation: Relation, b: usize) -> bool {
        let groups = self.groups();
        let (Some(a), Some(b)) = (groups.get(a), groups.get(b)) else { return false };
        let (dx, dy) = (a.centre.0 - b.centre.0, a.centre.1 - b.centre.1);
        let horizontal = dx.abs() > 1.2 * dy.abs();
        let vertical = dy.abs() > 1.2 * dx.abs();
        match relation {
            Relation::LeftOf => horizontal && dx < 0.0,
            Relation::RightOf => horizontal && dx > 0.0,
            Relation::Above => vertical && dy < 0.0,
            Relation::Below => vertical && dy > 0.0,
            Relation::Beside => horizontal,
        }
    }
}
