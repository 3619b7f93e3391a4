//! A map as colours that lie over a picture: what a word stands on stays as it is, the rest is veiled.

use image::{Rgb, RgbImage, Rgba, RgbaImage, imageops};

/// The veil over what a word does not stand on.
const VEIL: [u8; 3] = [10, 12, 32];
/// How dense the veil is where it is densest, 0 to 1.
const DENSEST: f32 = 0.82;
/// The veil of a map of `grid · grid` values, a pixel a patch: bare where the map is largest, densest where it is 0 or less.
pub(crate) fn veil(map: &[f32], grid: usize) -> RgbaImage {
    let most = map.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let [red, green, blue] = VEIL;
    RgbaImage::from_fn(grid as u32, grid as u32, |x, y| {
        let value = (map[y as usize * grid + x as usize] / most).clamp(0.0, 1.0);
        Rgba([red, green, blue, (255.0 * DENSEST * (1.0 - value.powf(0.8))).round() as u8])
    })
}

/// A picture with the veil of a map over it.
pub(crate) fn veiled(picture: &RgbImage, map: &[f32], grid: usize) -> RgbImage {
    let (width, height) = picture.dimensions();
    let veil = imageops::resize(&veil(map, grid), width, height, imageops::FilterType::Triangle);
    let mut veiled = picture.clone();
    for (pixel, Rgba([red, green, blue, alpha])) in veiled.pixels_mut().zip(veil.pixels()) {
        let share = f32::from(*alpha) / 255.0;
        let mix =
            |under: u8, over: u8| (f32::from(under) * (1.0 - share) + f32::from(over) * share).round() as u8;
        let Rgb(under) = *pixel;
        *pixel = Rgb([mix(under[0], *red), mix(under[1], *green), mix(under[2], *blue)]);
    }
    veiled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_is_bare_and_what_says_nothing_is_dark() {
        let map = [0.0, 2.0, 1.0, -1.0];
        let alphas = |map: &[f32]| veil(map, 2).pixels().map(|pixel| pixel.0[3]).collect::<Vec<_>>();
        let densest = (255.0 * DENSEST).round() as u8;
        assert_eq!([alphas(&map)[1], alphas(&map)[0], alphas(&map)[3]], [0, densest, densest]);
        assert_eq!(alphas(&[0.0; 4]), [densest; 4]);
        let white = RgbImage::from_pixel(20, 10, Rgb([255; 3]));
        let veiled = veiled(&white, &map, 2);
        assert_eq!((veiled.dimensions(), veiled.get_pixel(19, 0).0), ((20, 10), [255; 3]));
        assert!(veiled.get_pixel(0, 0).0[0] < 70);
    }
}
