"""From an image file to pixels: headers, limits of memory, conversions to bytes, and the cache of decoded images."""
