"""What is known of array libraries; the only place that imports numpy, and only when an array is there already."""
