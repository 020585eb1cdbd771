"""The common corruptions of Hendrycks and Dietterich (2019): images as a camera, the weather or a file spoils them."""
