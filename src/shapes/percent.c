/* Percents with one decimal place. */
#include "shapes/shape.h"

bool fl_percent_tenths(double percent, int32_t *ret_tenths)
{
    const double tolerance = 1e-6;
    if (!(percent >= 0 && percent <= 100))
        return false;
    int32_t tenths = (int32_t)(percent * 10 + 0.5);
    double error = percent * 10 - tenths;
    if (error > tolerance || error < -tolerance)
        return false;
    *ret_tenths = tenths;
    return true;
}

double fl_percent_of(int32_t tenths)
{
    return tenths / 10.0;
}
